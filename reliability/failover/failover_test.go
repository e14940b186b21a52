package failover

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestFailover is a small failover in every mode, without bounds of time: all clients
// are told, nothing is lost without an announcement, and all clients come back.
func TestFailover(t *testing.T) {
	o := Defaults()
	o.Server = filepath.Join(t.TempDir(), "server")
	if err := node.Build(t.Context(), o.Server, false); err != nil {
		t.Fatal(err)
	}
	o.Clients, o.Channels, o.Rate, o.DrainTime, o.Bounds = 500, 50, 200, time.Second, nil
	for _, mode := range o.Modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o, out, stderr := o, bytes.Buffer{}, bytes.Buffer{}
			o.Modes, o.Out, o.Stderr = []string{mode}, &out, &stderr
			if err := Run(t.Context(), o); err != nil {
				t.Fatalf("%v\n%s\n%s", err, &out, &stderr)
			}
			for _, want := range []string{"| end of the node | SIGTERM | SIGKILL |", "| connections closed with | [3001:500] |", "Verdict: passed"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing:\n%s", want, &out)
				}
			}
		})
	}
}
