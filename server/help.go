package server

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/tandem-ws/tandem/server/config"
)

const usage = `Tandem is a push server: it holds the WebSocket connections of browsers and apps
and sends each message that a back end publishes to Redis to the connections
subscribed to its channel.

usage: tandem [verb]

`

const settings = `
tandem VERB -help explains one. Everything else is set by environment variables,
for all verbs the same. An empty one counts as unset. Durations are written with
their unit (25s, 1m30s), sizes in bytes.

`

// printHelp writes the usage, the verbs and the table of all variables.
func printHelp(w io.Writer) error {
	if _, err := io.WriteString(w, usage); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range verbs() {
		if _, err := fmt.Fprintf(table, "  %s\t%s\n", v.call(), v.does); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if _, err := io.WriteString(w, settings); err != nil {
		return err
	}
	for _, v := range config.Variables() {
		if _, err := fmt.Fprintf(table, "%s\t%s\t%s\n", v.Name, v.Default, v.Meaning); err != nil {
			return err
		}
	}
	return table.Flush()
}

// call is how the verb is written, without its flags.
func (v verb) call() string { return strings.TrimSpace(v.name + " " + v.args) }

// explain writes the help of one verb.
func (i *invocation) explain(flags *flag.FlagSet) error {
	var b strings.Builder
	for _, v := range verbs() {
		if v.name == flags.Name() {
			fmt.Fprintf(&b, "usage: tandem %s\n\n  %s\n", v.call(), v.does)
		}
	}
	flags.SetOutput(&b)
	some := false
	flags.VisitAll(func(*flag.Flag) { some = true })
	if some {
		b.WriteString("\n")
		flags.PrintDefaults()
	}
	_, err := io.WriteString(i.stdout, b.String())
	return err
}
