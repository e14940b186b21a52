// Command compare measures what push servers cost under the same load. Run it
// without arguments for its subcommands.
package main

import (
	"github.com/tandem-ws/tandem/compare/anchor"
	"github.com/tandem-ws/tandem/compare/drive"
	"github.com/tandem-ws/tandem/compare/live"
	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/report"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/run"
	"github.com/tandem-ws/tandem/compare/scenario"
	"github.com/tandem-ws/tandem/compare/variant"
	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/internal/command"
)

var program = command.Program{
	Name: "compare",
	Commands: []command.Command{
		{Name: "run", About: "measure every variant in every scenario, and write a report", Run: runRun, Temporary: true},
		{Name: "report", About: "rebuild the report of a results folder, or compare two folders", Run: runReport},
		{Name: "live", About: "run both modes under one load and show them on a page", Run: runLive, Temporary: true},
		{Name: "anchor", About: "measure a server against the least that a server can spend", Run: runAnchor, Temporary: true},
		{Name: "drive", About: "load servers that are running, and export metrics", Run: runDrive},
		{Name: "load", About: "load generator that run, live and drive start", Run: runLoad},
		{Name: "redis", About: "embedded Redis that run starts if there is no redis-server", Run: runRedis},
	},
	Invalid: []error{
		variant.ErrVariant, scenario.ErrScenario, run.ErrOptions, live.ErrAddress, live.ErrSettings,
		drive.ErrOptions, anchor.ErrOptions, result.ErrFolder, report.ErrNothing,
		workload.ErrPlan, node.ErrProgram,
	},
}

func main() { program.Main() }
