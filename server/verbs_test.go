package server

import (
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/server/version"
)

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		args       []string
		code       int
		out, wrong string
	}{
		{[]string{"-help"}, exitOK, "SCHEDULE_TIMEOUT", ""},
		{[]string{"--help"}, exitOK, "usage: tandem", ""},
		{[]string{"-h"}, exitOK, "usage: tandem", ""},
		{[]string{"help"}, exitOK, "usage: tandem", ""},
		{[]string{"-version"}, exitOK, "tandem " + version.Version, ""},
		{[]string{"version"}, exitOK, "tandem " + version.Version, ""},
		{[]string{"version", "all"}, exitUsage, "", `"all"`},
		{[]string{"-port=80"}, exitUsage, "", "-port"},
		{[]string{"start"}, exitUsage, "", `"start"`},
		{[]string{"serve", "8080"}, exitUsage, "", `"8080"`},
		{[]string{"serve", "-port=80"}, exitUsage, "", "-port"},
		{[]string{"publish", "news"}, exitUsage, "", "tandem publish -help"},
		{[]string{"publish", "news", "1", "2"}, exitUsage, "", `"2"`},
		{[]string{"publish", "__sentinel__:hello", "1"}, exitUsage, "", "reserves"},
		{[]string{"watch", "__keyevent@0__:set"}, exitUsage, "", "reserves"},
		{[]string{"watch"}, exitUsage, "", "tandem watch -help"},
		{[]string{"watch", "-url=localhost:8080", "news"}, exitUsage, "", "ws://"},
		{[]string{"watch", "-n=some", "news"}, exitUsage, "", "-n"},
		{[]string{"token"}, exitUsage, "", "TOKEN_SECRET"},
	} {
		var stdout, stderr strings.Builder
		if code := program(test.args, nil, &stdout, &stderr); code != test.code {
			t.Errorf("%q: exit code %d, want %d", test.args, code, test.code)
		}
		if !strings.Contains(stdout.String(), test.out) || !strings.Contains(stderr.String(), test.wrong) {
			t.Errorf("%q printed %q and %q", test.args, stdout.String(), stderr.String())
		}
		if lines := strings.Count(stderr.String(), "\n"); test.wrong != "" && lines != 1 {
			t.Errorf("%q: %d lines of error, want 1", test.args, lines)
		}
	}
}

// TestEveryVerbExplainsItself shows that the help lists each verb, that each has
// a help of its own, and that a bad configuration stops all that need one.
func TestEveryVerbExplainsItself(t *testing.T) {
	arguments := map[string][]string{"publish": {"news", "1"}, "watch": {"news"}}
	var help strings.Builder
	program([]string{"-help"}, nil, &help, &strings.Builder{})
	for _, v := range verbs() {
		if !strings.Contains(help.String(), "\n  "+v.call()+" ") || !strings.Contains(help.String(), v.does+"\n") {
			t.Errorf("-help does not list %s", v.name)
		}
		var stdout, stderr strings.Builder
		if code := program([]string{v.name, "-help"}, nil, &stdout, &stderr); code != exitOK || stderr.Len() > 0 ||
			!strings.HasPrefix(stdout.String(), "usage: tandem "+v.call()+"\n") {
			t.Errorf("%s -help: exit code %d, %q and %q", v.name, code, stdout.String(), stderr.String())
		}
		if v.name == "version" {
			continue
		}
		for _, variable := range []string{"MODE=fast", "REDIS_URL=redis://h:6379/ten"} {
			stderr.Reset()
			args := append([]string{v.name}, arguments[v.name]...)
			name, _, _ := strings.Cut(variable, "=")
			if code := program(args, []string{variable}, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), name) {
				t.Errorf("%s with %s: exit code %d, %q", v.name, variable, code, stderr.String())
			}
		}
	}
}
