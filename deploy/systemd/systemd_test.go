//go:build linux

// Package systemd_test holds the unit to what systemd and the server know.
package systemd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/server/config"
)

// TestSystemdUnit has systemd itself read the unit, and judge how much a service
// that was broken into could do.
func TestSystemdUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal("systemd-analyze is missing: run deploy/test-deps.sh, or apt-get install systemd")
	}
	unit, err := os.ReadFile("tandem.service")
	if err != nil {
		t.Fatal(err)
	}
	// The program need not be installed where the test runs.
	program := filepath.Join(t.TempDir(), "tandem")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tandem.service")
	if !bytes.Contains(unit, []byte("ExecStart=/usr/local/bin/tandem serve\n")) {
		t.Error("the unit does not run tandem serve")
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(unit, []byte("/usr/local/bin/tandem"), []byte(program)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// In tenths, of 10: at 20 it calls a service OK.
	security := exec.Command(analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", path)
	if out, err := security.CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}

	for setting, want := range map[string]string{"LimitNOFILE": "1048576", "RestartPreventExitStatus": "2", "EnvironmentFile": "-/etc/tandem/tandem.env"} {
		if got := unitSetting(t, unit, setting); got != want {
			t.Errorf("%s=%s, want %s", setting, got, want)
		}
	}
	stop, err := time.ParseDuration(unitSetting(t, unit, "TimeoutStopSec") + "s")
	if err != nil || stop < 20*time.Second {
		t.Errorf("systemd kills after %v, %v: before the server has drained", stop, err)
	}
}

func unitSetting(t *testing.T, unit []byte, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindSubmatch(unit)
	if found == nil {
		t.Fatalf("the unit has no %s", name)
	}
	return string(found[1])
}

// TestSystemdFiles: the variables are those of the server, and sysctl knows the
// names of what is set.
func TestSystemdFiles(t *testing.T) {
	environment, err := os.ReadFile("tandem.env")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, name := range regexp.MustCompile(`(?m)^#?([A-Z_]+)=`).FindAllStringSubmatch(string(environment), -1) {
		listed[name[1]] = true
	}
	for _, v := range config.Variables() {
		if !listed[v.Name] {
			t.Errorf("tandem.env does not list %s", v.Name)
		}
		delete(listed, v.Name)
	}
	for name := range listed {
		t.Errorf("tandem.env lists %s, which the server does not know", name)
	}
	// With every comment taken away it is a configuration, but for what is empty.
	var environ []string
	for line := range strings.Lines(string(environment)) {
		environ = append(environ, strings.TrimSpace(strings.TrimPrefix(line, "#")))
	}
	if _, err := config.Load(environ, "linux"); err != nil {
		t.Errorf("tandem.env: %v", err)
	}

	settings, err := os.ReadFile("tandem-sysctl.conf")
	if err != nil {
		t.Fatal(err)
	}
	tuning, err := os.ReadFile("../../docs/tuning.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^(-?)([a-z0-9_.]+) = `).FindAllStringSubmatch(string(settings), -1)
	if len(names) < 5 {
		t.Fatalf("tandem-sysctl.conf sets %d things", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(tuning), "`"+name[2]+"`") {
			t.Errorf("docs/tuning.md does not explain %s", name[2])
		}
		// One with a dash belongs to a module that need not be loaded, and tcp_mem
		// is of the host, so that containers do not see it.
		optional := name[1] == "-" || name[2] == "net.ipv4.tcp_mem"
		if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(name[2], ".", "/")); err != nil && !optional {
			t.Errorf("this kernel has no %s", name[2])
		}
	}
}
