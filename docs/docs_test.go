//go:build linux

// Package docs_test runs every command that the documentation shows.
//
// A block of commands is fenced as console; lines that begin with "$ " are typed,
// the others are what is printed; … stands for anything. A block in one of
// the languages of snippet_test.go is a program. One that is not run says why in a
// comment on the line before it: <!-- not run: … -->.
package docs_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced part of a page.
type block struct {
	page     string
	line     int // of its first line
	language string
	notRun   string // why
	text     string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// pages are the README, its neighbours, and everything in docs.
func pages(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("*.md")
	if err != nil || len(list) < 5 {
		t.Fatalf("%d pages, %v", len(list), err)
	}
	return append([]string{"../README.md", "../CHANGELOG.md", "../CONTRIBUTING.md", "../SECURITY.md"}, list...)
}

var notRun = regexp.MustCompile(`^<!-- not run: (.+) -->$`)

// blocks returns the fenced parts of a page.
func blocks(page, text string) (list []*block, err error) {
	var open *block
	var before string
	for i, line := range strings.Split(text, "\n") {
		switch fence, isFence := strings.CutPrefix(strings.TrimLeft(line, " "), "```"); {
		case isFence && open == nil:
			open = &block{page: page, line: i + 2, language: fence}
			if reason := notRun.FindStringSubmatch(before); reason != nil {
				open.notRun = reason[1]
			}
		case isFence && fence == "":
			list = append(list, open)
			open = nil
		case isFence:
			return nil, fmt.Errorf("%v: a fence within a fence", open)
		case open != nil:
			open.text += line + "\n"
		}
		before = line
	}
	if open != nil {
		return nil, fmt.Errorf("%v: the fence is not closed", open)
	}
	return list, nil
}

// step is a command and what it prints.
type step struct {
	command string
	output  []string
}

// steps reads a block of commands.
func (b *block) steps() (list []step, err error) {
	for line := range strings.Lines(b.text) {
		line = strings.TrimRight(line, "\n")
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			list = append(list, step{command: command})
		} else if len(list) == 0 {
			return nil, fmt.Errorf("%v: output before the first command", b)
		} else {
			last := &list[len(list)-1]
			last.output = append(last.output, line)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%v: no command: lines begin with \"$ \"", b)
	}
	return list, nil
}

// matches reports whether text is want, in which … stands for anything on its line.
func matches(want, text string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*")
	ok, _ := regexp.MatchString(`^(?:`+pattern+`)\n*$`, text)
	return ok
}

// TestBlocks: what the documentation shows is one of the languages that are run
// here, or of those that are no commands.
func TestBlocks(t *testing.T) {
	prose := map[string]bool{"": true, "promql": true, "nginx": true, "yaml": true, "json": true}
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			_, program := languages[b.language]
			switch {
			case b.language == "console":
				if _, err := b.steps(); err != nil {
					t.Error(err)
				}
			case !program && !prose[b.language]:
				t.Errorf("%v: nothing runs a block of %q", b, b.language)
			case prose[b.language] && regexp.MustCompile(`(?m)^\$ `).MatchString(b.text):
				t.Errorf("%v: commands in a block that is not console", b)
			}
		}
	}
}

func blocksOf(t *testing.T, page string) []*block {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	list, err := blocks(page, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestMentions: the targets of make and the verbs of tandem that the text speaks
// of are there.
func TestMentions(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(program, "-help").Output()
	if err != nil {
		t.Fatal(err)
	}
	mentioned := regexp.MustCompile("`(?:[A-Z_]+=[^ `]+ )*(make|(?:bin/)?tandem) ([a-z-]+)")
	found := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mentioned.FindAllStringSubmatch(string(text), -1) {
			found++
			if m[1] == "make" && !strings.Contains(string(makefile), "\n"+m[2]+":") {
				t.Errorf("%s speaks of make %s, which there is not", page, m[2])
			}
			if m[1] != "make" && m[2] != "-help" && !strings.Contains(string(help), "\n  "+m[2]+" ") {
				t.Errorf("%s speaks of tandem %s, which there is not", page, m[2])
			}
		}
	}
	if found == 0 {
		t.Error("no page speaks of make or tandem")
	}
}

// TestLinks: the files that pages link to, and the headings in them, are there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	strip := regexp.MustCompile("[^a-z0-9 -]")
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			content, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], errors.Unwrap(err))
				continue
			}
			if m[2] == "" {
				continue
			}
			there := false
			for _, h := range heading.FindAllStringSubmatch(string(content), -1) {
				anchor := strings.ReplaceAll(strip.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")
				there = there || "#"+anchor == m[2]
			}
			if !there {
				t.Errorf("%s links to %s%s: there is no such heading", page, m[1], m[2])
			}
		}
	}
}

// TestChecker shows that the tests here would find what they look for.
func TestChecker(t *testing.T) {
	list, err := blocks("p", "x\n<!-- not run: why -->\n```console\n$ a\n1 …\n$ b\n```\n```go\nc\n```\n")
	if err != nil || len(list) != 2 || list[0].notRun != "why" || list[0].line != 4 || list[1].notRun != "" || list[1].language != "go" {
		t.Fatalf("%+v, %v", list, err)
	}
	found, err := list[0].steps()
	if err != nil || len(found) != 2 || found[0].command != "a" || len(found[0].output) != 1 || len(found[1].output) != 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	if !matches("1 …", "1 anything\n") || matches("1 …", "2 anything\n") || matches("1 …", "1 a\na line more\n") {
		t.Error("output is not compared as it should be")
	}
	for _, broken := range []string{"```console\n$ a\n", "```console\n```go\n```\n"} {
		if _, err := blocks("p", broken); err == nil {
			t.Errorf("%q is let through", broken)
		}
	}
}

// TestDiagram: the picture is drawn from what lies beside it.
func TestDiagram(t *testing.T) {
	source, err := os.ReadFile("architecture.dot")
	if err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile("architecture.svg")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(picture), fmt.Sprintf("<!-- architecture.dot %x -->", sha256.Sum256(source))) {
		t.Error("architecture.svg is not drawn from architecture.dot as it is: run make diagram")
	}
}
