package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/internal/command"
	"github.com/tandem-ws/tandem/internal/programtest"
)

var server string // the server program, built once

func TestMain(m *testing.M) {
	if programtest.IsProgram() {
		main()
		return
	}
	os.Exit(withServer(m))
}

func withServer(m *testing.M) int {
	path, remove, err := node.Program(context.Background(), "", false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	server = path
	return m.Run()
}

// TestBadValues: a value that cannot be used has the exit code of a wrong flag, in
// every subcommand.
func TestBadValues(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, args := range []string{
		"", "fly", "soak -nonsense", "soak surplus", "soak -mode fast", "soak -clients 0", "soak -rate 0", "soak -rate NaN", "soak -churn 0",
		"soak -churn Inf", "soak -cycle 0s", "soak -for -1s", "soak -token-life 1500ms", "soak -server " + missing,
		"failover -nonsense", "failover surplus", "failover -mode fast", "failover -connections 0", "failover -drain-time -1s",
		"failover -connect-rate -1", "failover -server " + missing,
		"abuse -nonsense", "abuse surplus", "abuse -mode fast", "abuse -healthy 0", "abuse -hostile 1", "abuse -phase 0s", "abuse -server " + missing,
		"attack", "attack -options {", `attack -options {"Kinds":["friendly"]}`,
	} {
		p := programtest.Start(t, strings.Fields(args)...)
		if code := p.Exit(t); code != command.StatusUsage || p.Stderr.String() == "" || strings.Contains(p.Stdout.String(), "verdict") {
			t.Errorf("reliability %s: exit code %d, %s%s", args, code, p.Stdout.String(), p.Stderr.String())
		}
	}
}

// TestSignals: no signal leaves a process or a temporary file behind.
func TestSignals(t *testing.T) {
	for _, args := range []string{
		"soak -mode idiomatic -clients 5", "failover -mode idiomatic -connections 20", "abuse -mode idiomatic -healthy 5 -hostile 9",
	} {
		for _, s := range programtest.Endings {
			t.Run(strings.Fields(args)[0]+", "+s.String(), func(t *testing.T) {
				t.Parallel()
				p := programtest.Start(t, append(strings.Fields(args), "-server", server)...)
				p.Child(t, server)
				p.Child(t, "redis-server")
				if code := p.EndBy(t, s); code != command.StatusFailed {
					t.Errorf("exit code %d: %s", code, p.Stderr.String())
				}
			})
		}
	}
}
