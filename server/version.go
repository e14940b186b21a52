package main

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// version is the release; the linker may set another with -X main.version.
var version = "0.1.0"

// printVersion says what runs, in one line.
func printVersion(i *invocation) int {
	if code, done := i.parse(flag.NewFlagSet("version", flag.ContinueOnError), 0, 0); done {
		return code
	}
	_, err := fmt.Fprintf(i.stdout, "tandem %s %s %s\n", version, revision(), runtime.Version())
	return outcome(i.stderr, err)
}

// commit is what the program was built from; the linker sets it with -X
// main.commit, because what the go command notes of a repository depends on
// where it builds.
var commit string

// revision is the commit that the program was built from, as far as the build
// knew it.
func revision() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	found, dirty := "unknown", ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			found = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "-dirty"
		}
	}
	return found + dirty
}

// buildInfo is the metric that says which Tandem runs in which mode.
func buildInfo(mode string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tandem_build_info",
		Help: "What runs: always 1.",
		ConstLabels: prometheus.Labels{
			"version": version, "revision": revision(), "mode": mode,
		},
	})
	g.Set(1)
	return g
}
