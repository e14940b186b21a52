// Command reliability proves that the server keeps its promises under load, faults
// and attacks. Run it without arguments for its subcommands.
package main

import (
	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/internal/command"
	"github.com/tandem-ws/tandem/reliability/abuse"
	"github.com/tandem-ws/tandem/reliability/attack"
	"github.com/tandem-ws/tandem/reliability/failover"
	"github.com/tandem-ws/tandem/reliability/soak"
)

var program = command.Program{
	Name: "reliability",
	Commands: []command.Command{
		{Name: "soak", About: "run servers for long under churn and faults; fail on loss and growth", Run: runSoak, Temporary: true},
		{Name: "failover", About: "end a node under all its clients and watch them move to another", Run: runFailover, Temporary: true},
		{Name: "abuse", About: "measure healthy clients while thousands of hostile ones attack", Run: runAbuse, Temporary: true},
		{Name: "attack", About: "hostile clients that abuse starts", Run: runAttack},
	},
	Invalid: []error{soak.ErrOptions, failover.ErrOptions, abuse.ErrOptions, attack.ErrOptions, node.ErrProgram},
}

func main() { program.Main() }
