// Package server is the program: its verbs, and what they print and return. The
// packages below it run a node, read its configuration and serve its API.
package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/tandem-ws/tandem/server/config"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// Main runs the program with the arguments, environment and files of the process. It
// returns the exit code.
func Main() int {
	return program(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

// invocation is one call of the program: its input and where it writes.
type invocation struct {
	args           []string // after the verb
	environ        []string // as os.Environ has it
	stdin          io.Reader
	stdout, stderr io.Writer
}

// verb is one thing that the program does. run returns the exit code.
type verb struct {
	name, args, does string
	run              func(*invocation) int
}

// verbs are in the order of the help. Without a verb the program serves.
func verbs() []verb {
	return []verb{
		{"serve", "", "run the server; the default", serve},
		{"check", "", "validate the configuration and reach Redis", check},
		{"publish", "CHANNEL DATA", "publish through Redis; DATA - is standard input", publish},
		{"watch", "CHANNEL...", "print messages as a client of a server gets them", watch},
		{"token", "", "make a token (JWT) for testing, signed with TOKEN_SECRET", makeToken},
		{"health", "", "report whether the server that runs with this environment is alive", health},
		{"version", "", "print the version", printVersion},
	}
}

// program is Main, with everything that it uses as arguments.
func program(args, environ []string, stdout, stderr io.Writer) int {
	i := &invocation{args: args, environ: environ, stdin: os.Stdin, stdout: stdout, stderr: stderr}
	if len(args) == 0 {
		return serve(i)
	}
	name := args[0]
	i.args = args[1:]
	switch name {
	case "-h", "-help", "--help", "help":
		return outcome(stderr, printHelp(stdout))
	case "-version", "--version", "-health", "--health":
		name = strings.TrimLeft(name, "-")
	}
	all := verbs()
	at := slices.IndexFunc(all, func(v verb) bool { return v.name == name })
	if at < 0 {
		return refuse(stderr, fmt.Sprintf("tandem: unknown argument %q: run with -help for a list", name))
	}
	return all[at].run(i)
}

// parse reads the flags and arguments of a verb. If done is set, the program exits with
// code: the help was printed, or an error.
func (i *invocation) parse(flags *flag.FlagSet, least, most int) (code int, done bool) {
	flags.SetOutput(io.Discard)
	err := flags.Parse(i.args)
	switch n := flags.NArg(); {
	case errors.Is(err, flag.ErrHelp):
		return outcome(i.stderr, i.explain(flags)), true
	case err == nil && n < least:
		err = errors.New("an argument is missing")
	case err == nil && n > most:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(most))
	}
	if err != nil {
		return refuse(i.stderr, fmt.Sprintf("tandem: %s: %v: run tandem %[1]s -help", flags.Name(), err)), true
	}
	return exitOK, false
}

// interrupted returns a context that is done after the first signal to stop.
func interrupted() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// config reads the environment.
func (i *invocation) config() (config.Config, error) { return config.Load(i.environ, runtime.GOOS) }

// refuse reports what is wrong with how the program was called.
func refuse(stderr io.Writer, line string) int {
	_, _ = fmt.Fprintln(stderr, line)
	return exitUsage
}

func outcome(stderr io.Writer, err error) int {
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		if errors.Is(err, config.ErrInvalid) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}
