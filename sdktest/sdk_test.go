// Package sdktest shows that the published centrifuge-js works unchanged with
// both modes, with JSON and with protobuf, from Node and from Chromium, and that
// the demo page does. The tests themselves are JavaScript, for that is what the
// SDK is; here they are given a server and run by `go test`.
package sdktest

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"
)

// enoughTests is how many tests each run has at least: fewer, and part of them
// was not run.
const enoughTests = 150

// summary is a line of the totals that Node's test runner ends with.
var summary = regexp.MustCompile(`(?m)^(?:ℹ|#) (tests|pass|fail|cancelled|skipped|todo) (\d+)$`)

func TestSDKs(t *testing.T) {
	deps := exec.Command("./deps.sh")
	if output, err := deps.CombinedOutput(); err != nil {
		t.Fatalf("deps.sh: %v\n%s", err, output)
	}
	server := filepath.Join(t.TempDir(), "server")
	build := exec.Command("go", append(append([]string{"build"}, buildFlags...), "-o", server, "..")...)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ..: %v\n%s", err, output)
	}
	modes := []string{"idiomatic"}
	if runtime.GOOS == "linux" {
		modes = append(modes, "optimized")
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) { suite(t, server, mode) })
	}
}

// suite runs the JavaScript tests against one mode.
func suite(t *testing.T, server, mode string) {
	certFile, keyFile := certificate(t)
	node := exec.CommandContext(t.Context(), "node", "--test-reporter=spec", "suite.js")
	node.Env = append(os.Environ(), "MODE="+mode, "TANDEM_SERVER="+server, "END_WITH_STDIN=1",
		"TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "NODE_EXTRA_CA_CERTS="+certFile)
	var output bytes.Buffer
	node.Stdout, node.Stderr = &output, &output
	if testing.Verbose() {
		node.Stdout = io.MultiWriter(&output, os.Stdout)
		node.Stderr = node.Stdout
	}
	// Node ends, with all that it started, when this end of the pipe is closed,
	// and that is so however this process ends.
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	if err := node.Run(); err != nil {
		if !testing.Verbose() {
			t.Log(output.String())
		}
		t.Fatalf("node suite.js: %v", err)
	}
	totals := map[string]int{}
	for _, line := range summary.FindAllStringSubmatch(output.String(), -1) {
		totals[line[1]], _ = strconv.Atoi(line[2])
	}
	if totals["pass"] < enoughTests || totals["pass"] != totals["tests"] {
		t.Fatalf("totals %v: want at least %d tests, and all of them passed", totals, enoughTests)
	}
}
