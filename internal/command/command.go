// Package command runs a program that consists of subcommands: it parses flags,
// chooses the exit status, and makes sure that no signal leaves files or processes
// behind.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// ErrUsage means that the arguments were wrong and that the user has been told.
var ErrUsage = errors.New("usage")

// Exit statuses.
const (
	StatusFailed = 1
	StatusUsage  = 2 // wrong arguments: unknown flags and values that cannot be used alike
)

// Command is one subcommand of a program.
type Command struct {
	Name, About string
	// Run parses args with Parse and does the work until ctx ends.
	Run func(ctx context.Context, args []string) error
	// Temporary means that Run and the processes that it starts create temporary
	// files. They get a folder of their own, which is removed however Run ends.
	Temporary bool
}

// Program is a set of subcommands.
type Program struct {
	Name     string
	Commands []Command
	// Invalid lists errors that mean that a value in the arguments cannot be used.
	Invalid []error
}

// Main runs the program with the process's arguments and exits.
func (p *Program) Main() {
	os.Exit(p.status(os.Args[1:]))
}

func (p *Program) status(args []string) int {
	ctx, stop := p.catchSignals()
	defer stop()
	err := p.Dispatch(ctx, args)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, ErrUsage):
		return StatusUsage
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
	for _, invalid := range p.Invalid {
		if errors.Is(err, invalid) {
			return StatusUsage
		}
	}
	return StatusFailed
}

// Dispatch runs the subcommand that args name.
func (p *Program) Dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		p.usage(os.Stderr)
		return ErrUsage
	}
	for _, c := range p.Commands {
		if c.Name != args[0] {
			continue
		}
		if !c.Temporary {
			return c.Run(ctx, args[1:])
		}
		if err := folder.create(p.Name); err != nil {
			return err
		}
		return errors.Join(c.Run(ctx, args[1:]), folder.remove())
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		p.usage(os.Stdout)
		return nil
	}
	fmt.Fprintf(os.Stderr, "%s: unknown subcommand %q\n", p.Name, args[0])
	p.usage(os.Stderr)
	return ErrUsage
}

func (p *Program) usage(w io.Writer) {
	fmt.Fprintf(w, "usage: %s SUBCOMMAND [flags]\n%s SUBCOMMAND -help lists the flags.\n\n", p.Name, p.Name)
	for _, c := range p.Commands {
		fmt.Fprintf(w, "  %-8s  %s\n", c.Name, c.About)
	}
}

// Parse parses args, which must consist of flags only.
func Parse(flags *flag.FlagSet, args []string) error {
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "Usage of %s:\n", flags.Name())
		printDefaults(flags)
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return ErrUsage // the flag package has told the user
	}
	if flags.NArg() > 0 {
		return Usagef(flags.Name(), "unexpected argument %q", flags.Arg(0))
	}
	return nil
}

// printDefaults prints the flags as flag.PrintDefaults does, in lines that fit.
func printDefaults(flags *flag.FlagSet) {
	out := flags.Output()
	var b strings.Builder
	flags.SetOutput(&b)
	flags.PrintDefaults()
	flags.SetOutput(out)
	for line := range strings.SplitSeq(strings.TrimSuffix(b.String(), "\n"), "\n") {
		if about, ok := strings.CutPrefix(line, "    \t"); ok {
			line = Indent(about, "      ")
		}
		fmt.Fprintln(out, line)
	}
}

// Indent breaks text into indented lines of at most 80 columns.
func Indent(text, indent string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+n > defaultColumns:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

// Usagef tells the user what is wrong with the arguments and returns ErrUsage.
func Usagef(name, format string, a ...any) error {
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, fmt.Sprintf(format, a...))
	return ErrUsage
}

// catchSignals returns a context that ends at the first signal that asks the
// program to end. The next one ends the program at once, without its temporary
// files; the system kills the processes that it started.
func (p *Program) catchSignals() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // it is under nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	// By default, writing to a pipe that has no reader ends a Go program without
	// running its deferred functions.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	ended := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for {
			select {
			case s := <-signals:
				if ctx.Err() == nil {
					cancel()
					continue
				}
				_ = folder.remove() // there is no time for more
				status := StatusFailed
				if number, ok := s.(syscall.Signal); ok {
					status = 128 + int(number)
				}
				os.Exit(status)
			case <-pipe: // of standard output, or of any socket
				if readerGone(os.Stdout) {
					cancel()
				}
			case <-ended:
				return
			}
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipe)
		close(ended)
		waiting.Wait()
		cancel()
	}
}

// defaultColumns is the width of output that does not go to a terminal.
const defaultColumns = 80

// Columns returns the width of the terminal that f is, or else 80.
func Columns(f *os.File) int {
	if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
		return columns
	}
	return defaultColumns
}

// readerGone reports whether f is a pipe that nobody will read from.
func readerGone(f *os.File) bool {
	poll := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0 && poll[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// folder is where this process and its children put temporary files.
var folder temporary

// temporary is a folder that stands in for TMPDIR.
type temporary struct {
	mu   sync.Mutex // guards path
	path string     // empty: none
}

func (t *temporary) create(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	path, err := os.MkdirTemp("", "tandem-"+name+"-")
	if err != nil {
		return fmt.Errorf("command: create a temporary folder: %w", err)
	}
	t.path = path
	return os.Setenv("TMPDIR", path)
}

// remove removes the folder. A process that was killed may still be writing to it
// when remove is first tried.
func (t *temporary) remove() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path == "" {
		return nil
	}
	var err error
	for range 20 {
		if err = os.RemoveAll(t.path); err == nil {
			t.path = ""
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("command: remove temporary files: %w", err)
}
