package main

import (
	"context"
	"errors"
	"flag"
	"testing"

	"github.com/tandem-ws/tandem/internal/command"
)

func TestDispatch(t *testing.T) {
	for _, c := range []struct {
		args []string
		want error
	}{
		{nil, command.ErrUsage},
		{[]string{"fly"}, command.ErrUsage},
		{[]string{"help"}, nil},
		{[]string{"load", "-nonsense"}, command.ErrUsage},
		{[]string{"load", "surplus"}, command.ErrUsage},
		{[]string{"load", "-help"}, flag.ErrHelp},
	} {
		if err := program.Dispatch(context.Background(), c.args); !errors.Is(err, c.want) {
			t.Errorf("compare %q: %v, want %v", c.args, err, c.want)
		}
	}
}
