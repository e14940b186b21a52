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

// revision is the commit that the program was built from, as far as the go
// command knew it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, dirty := "unknown", ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			commit = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "-dirty"
		}
	}
	return commit + dirty
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
