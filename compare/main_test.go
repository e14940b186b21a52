package main

import (
	"context"
	"errors"
	"flag"
	"testing"
)

func TestDispatch(t *testing.T) {
	for _, c := range []struct {
		args []string
		want error
	}{
		{nil, errUsage},
		{[]string{"fly"}, errUsage},
		{[]string{"help"}, nil},
		{[]string{"load", "-nonsense"}, errUsage},
		{[]string{"load", "surplus"}, errUsage},
		{[]string{"load", "-help"}, flag.ErrHelp},
	} {
		if err := dispatch(context.Background(), c.args); !errors.Is(err, c.want) {
			t.Errorf("compare %q: %v, want %v", c.args, err, c.want)
		}
	}
}
