//go:build linux

package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/idiomatic"
	"github.com/tandem-ws/tandem/modes/optimized"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// net/http's own: after a refusal it waits half a second for the client, and
		// Close does not wait for that.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// pair is a node of each engine, set up alike.
type pair struct {
	names [2]string
	nodes [2]*kit.Node
}

// fuzzMessageSize is the message limit of a pair: small, so that inputs cross it.
const fuzzMessageSize = 1000

// startPair runs both engines until the test ends. Their log goes nowhere: a fuzz
// target may not log, and what is logged is no part of what they answer.
func startPair(t testing.TB, change func(*kit.Setup)) *pair {
	t.Helper()
	p := &pair{names: [2]string{"idiomatic", "optimized"}}
	for i, build := range []kit.Build{
		func(c modes.Config) (modes.Engine, error) { return idiomatic.New(c, idiomatic.Options{}) },
		func(c modes.Config) (modes.Engine, error) { return optimized.New(c, optimized.Options{Loops: 1}) },
	} {
		p.nodes[i] = kit.Start(t, build, func(s *kit.Setup) {
			s.Log, s.Limits.MaxMessageSize = slog.DiscardHandler, fuzzMessageSize
			if change != nil {
				change(s)
			}
		})
	}
	return p
}

// outcome is what one engine made of an input.
type outcome struct {
	frames []string // data frames and pongs, in order
	end    string   // the close frame, or how else it ended
}

// refused is how a request ends that is not answered, or with 400: which of the two
// is a matter of when the client gave up.
const refused = "no word, or 400"

func (o outcome) String() string {
	return fmt.Sprintf("%d frames %.2000q, then %s", len(o.frames), o.frames, o.end)
}

// same fails the test unless both engines made the same of an input.
func (p *pair) same(t *testing.T, input string, run func(*testing.T, *kit.Node) outcome) {
	t.Helper()
	p.sameBut(t, input, run, func(outcome) bool { return false })
}

// sameBut is same, but either mode may have an excused outcome.
func (p *pair) sameBut(t *testing.T, input string, run func(*testing.T, *kit.Node) outcome, excused func(outcome) bool) {
	t.Helper()
	var got [2]outcome
	for i, n := range p.nodes {
		got[i] = run(t, n)
	}
	if got[0].String() != got[1].String() && !excused(got[0]) && !excused(got[1]) {
		t.Errorf("input %s\n%s: %v\n%s: %v", input, p.names[0], got[0], p.names[1], got[1])
	}
}

// streams compares what the engines make of bytes that follow a handshake for
// target. Each cuts them at the same places.
func (p *pair) streams(t *testing.T, target string, stream []byte, seed uint64) {
	t.Helper()
	p.same(t, fmt.Sprintf("%q to %s, seed %d", stream, target, seed), func(t *testing.T, n *kit.Node) outcome {
		c := n.Open(t, target)
		defer c.Leave()
		sent := sendCut(c, stream, seed)
		defer sent()
		return readOutcome(c)
	})
}

// sendCut sends the bytes cut at places that seed decides, and then the end of
// the stream, while the caller reads. What it returns waits until all is sent, or
// the server takes no more.
func sendCut(c *kit.Client, b []byte, seed uint64) (wait func()) {
	done := make(chan error, 1)
	go func() {
		for _, piece := range cut(b, seed) {
			if err := c.TryWrite(piece); err != nil {
				done <- err
				return
			}
		}
		done <- c.Conn.CloseWrite()
	}()
	return func() {
		c.T.Helper()
		// The connection is being left: whoever still writes is released.
		c.Leave()
		if err := <-done; err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			c.T.Errorf("the server neither reads nor ends: %v", err)
		}
	}
}

// cut divides b into pieces of about the same size, which the seed decides: from
// a byte up, or b whole.
func cut(b []byte, seed uint64) (pieces [][]byte) {
	r := rand.New(rand.NewPCG(seed, 0))
	most := []int{len(b), 1, 2, 7, 100, 1500}[seed%6]
	for len(b) > 0 {
		n := len(b)
		if most < n {
			n = 1 + r.IntN(most)
		}
		pieces, b = append(pieces, b[:n]), b[n:]
	}
	return pieces
}

// readOutcome reads to the end of the connection.
func readOutcome(c *kit.Client) outcome {
	c.T.Helper()
	var o outcome
	for {
		f, err := c.TryFrame()
		switch {
		case kit.Ended(err):
			if o.end == "" {
				o.end = "end without close"
			}
			return o
		case err != nil:
			c.T.Errorf("after %v: %v", o, err)
			return o
		case o.end != "":
			c.T.Errorf("after %v: frame op %#x %s", o, f.Op, kit.Brief(f.Body))
			return o
		case f.Op == ws.OpClose:
			o.end = fmt.Sprintf("close %d %q", kit.CloseCode(f), f.Body)
		default:
			o.frames = append(o.frames, fmt.Sprintf("%x:%s", byte(f.Op), f.Body))
		}
	}
}

// handshakes compares what the engines answer to the bytes of a request, and of
// frames behind it.
func (p *pair) handshakes(t *testing.T, request []byte, seed uint64) {
	t.Helper()
	run := func(t *testing.T, n *kit.Node) outcome {
		c := n.Dial(t)
		defer c.Leave()
		sent := sendCut(c, request, seed)
		defer sent()
		return readAnswers(c)
	}
	if bytes.Contains(request, []byte("channel=")) {
		// While Redis is asked for the channels of a raw connection or a stream, a
		// client that has closed its side is gone for one mode, and answered once
		// more by the other.
		p.sameBut(t, fmt.Sprintf("%q, seed %d", request, seed), run, func(o outcome) bool {
			return len(o.frames) == 0 && o.end == refused
		})
		return
	}
	p.same(t, fmt.Sprintf("%q, seed %d", request, seed), run)
}

// readAnswers reads HTTP responses and, behind a 101, frames, to the end of the
// connection or the first refusal: the server may close after one. It need not
// answer what is not a request, or only half of one.
func readAnswers(c *kit.Client) outcome {
	c.T.Helper()
	var all []string
	for {
		// A reset may cut the body.
		r, body, err := c.TryResponse()
		switch {
		case kit.Ended(err) && r == nil:
			return outcome{all, refused}
		case err != nil && !kit.Ended(err):
			// Such as what follows the answer to a HEAD, which has no body and says how
			// long it would be: alike or not is all that counts.
			return outcome{all, "no response"}
		case r.StatusCode == http.StatusBadRequest:
			return outcome{all, refused}
		}
		answer := fmt.Sprint(r.StatusCode)
		for _, name := range []string{
			"Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Sec-Websocket-Version", "Allow",
		} {
			if values := r.Header.Values(name); len(values) > 0 {
				answer += fmt.Sprintf(" %s %q", name, values)
			}
		}
		switch {
		case r.StatusCode == http.StatusSwitchingProtocols:
			o := readOutcome(c)
			return outcome{append(append(all, answer), o.frames...), o.end}
		case r.StatusCode > http.StatusBadRequest:
			return outcome{append(all, answer), "refused"}
		}
		all = append(all, answer+" "+body)
		if r.StatusCode >= http.StatusOK {
			// What follows is another request, and net/http's in both modes; how long
			// it waits for one that does not come differs.
			return outcome{all, "answered"}
		}
	}
}
