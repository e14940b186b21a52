package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// The defaults must not contradict each other, with tokens or without.
func TestWarnings(t *testing.T) {
	for _, test := range []struct {
		environ []string
		want    []string // the variable that each warning names
	}{
		{nil, nil},
		{[]string{"TOKEN_SECRET=0123456789abcdef0123456789abcdef", "CLIENT_PUBLISH=true", "REDIS_PREFIX=app:", "ECHO=true"}, nil},
		{[]string{"CLIENT_PUBLISH=true"}, []string{"CLIENT_PUBLISH"}},
		{[]string{"MAX_MESSAGE_SIZE=65536"}, nil},
		{[]string{"MAX_MESSAGE_SIZE=65536", "TOKEN_SECRET=0123456789abcdef0123456789abcdef"}, []string{"MAX_MESSAGE_SIZE"}},
		{[]string{"MAX_MESSAGE_SIZE=32768"}, []string{"MAX_MESSAGE_SIZE"}},
		{[]string{"MAX_CHANNELS=1000"}, []string{"MAX_MESSAGE_SIZE"}},
		{[]string{"MAX_CHANNELS=10000", "MAX_MESSAGE_SIZE=4000000"}, []string{"MAX_QUEUED_BYTES"}},
		{[]string{"MAX_QUEUED_BYTES=65536"}, nil},
		{[]string{"MAX_QUEUED_BYTES=65536", "ECHO=true"}, []string{"MAX_QUEUED_BYTES"}},
	} {
		c, err := Load(test.environ, "linux")
		if err != nil {
			t.Fatalf("%q: %v", test.environ, err)
		}
		warnings := c.Warnings()
		if len(warnings) != len(test.want) {
			t.Errorf("%q: %q, want %d warnings", test.environ, warnings, len(test.want))
			continue
		}
		for i, w := range warnings {
			if !strings.HasPrefix(w, test.want[i]) || strings.Contains(w, "\n") {
				t.Errorf("%q: %q, want a line about %s", test.environ, w, test.want[i])
			}
		}
	}
}

func TestReservedPrefix(t *testing.T) {
	for _, prefix := range []string{"__sentinel__:", "__keyevent@0__:", "__redis__:x"} {
		if _, err := Load([]string{"REDIS_PREFIX=" + prefix}, "linux"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "REDIS_PREFIX") {
			t.Errorf("REDIS_PREFIX=%s: %v", prefix, err)
		}
	}
	c, err := Load([]string{"REDIS_PREFIX=__sent"}, "linux")
	if err != nil {
		t.Fatal(err)
	}
	rules := c.Rules()
	if err := rules.CheckChannel("inel__:hello"); !errors.Is(err, session.ErrChannelReserved) {
		t.Errorf("a name that completes a reserved one: %v", err)
	}
	if err := rules.CheckChannel("a\n"); !errors.Is(err, session.ErrChannelName) {
		t.Errorf("a line break: %v", err)
	}
	if err := rules.CheckChannel("news"); err != nil {
		t.Error(err)
	}
}
