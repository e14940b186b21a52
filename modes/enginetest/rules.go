package enginetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// rule is one row of the suite of RFC 6455: what a client sends after its
// handshake, and what it must get.
type rule struct {
	section string // of the RFC
	name    string
	send    []kit.Frame
	want    []kit.Frame // messages and pongs, in order
	// code ends the connection; open: it goes on, and the client closes it.
	code int
}

// open means that a rule does not end the connection.
const open = 0

// rules are all rows that need nothing of the node but its limit, maxEcho.
func rules() []rule {
	return slices.Concat(lengthRules(), headerRules(), controlRules, fragmentRules(), utf8Rules(), closeRules(), limitRules())
}

var ruleCases = []suiteCase{
	{"rfc6455/handshake", testHandshakeRules},
	{"rfc6455/frames", testRules},
	{"rfc6455/16 MB", testLargestRules},
}

// maxEcho is the message size limit of the node that rules are tried on.
const maxEcho = 1 << 18

func testRules(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxMessageSize, s.Limits.MaxQueuedBytes = maxEcho, 8*maxEcho })
	tried := tryRules(n, t, rules())
	n.Settle(t)
	// Every end is counted as what it is.
	for reason, codes := range map[string][]int{
		wire.DisconnectProtocol.Reason: {1002}, wire.DisconnectInvalidPayload.Reason: {1007}, wire.DisconnectTooBig.Reason: {1009},
	} {
		ends := 0
		for _, code := range codes {
			ends += tried[code]
			delete(tried, code)
		}
		n.AwaitDisconnects(t, reason, ends)
	}
	closed := 0
	for _, ends := range tried {
		closed += ends
	}
	n.AwaitDisconnects(t, modes.ReasonClientClosed, closed)
}

// testLargestRules tries messages of 16 MB, whole and in fragments.
func testLargestRules(t *testing.T, build kit.Build) {
	const size = 16 << 20
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxMessageSize, s.Limits.MaxQueuedBytes = size, 4*size })
	body := pattern(size)
	whole := kit.Frame{Op: ws.OpText, Body: body}
	tryRules(n, t, []rule{
		{"5.2", "text of 16 MB", []kit.Frame{whole}, []kit.Frame{whole}, open},
		{"5.2", "binary of 16 MB", []kit.Frame{{Op: ws.OpBinary, Body: body}}, []kit.Frame{{Op: ws.OpBinary, Body: body}}, open},
		{"5.4", "16 MB in fragments of 64 KB", fragments(ws.OpText, body, 64<<10), []kit.Frame{whole}, open},
		{"5.4", "16 MB in fragments of 4 KB", fragments(ws.OpText, body, 4<<10), []kit.Frame{whole}, open},
		{"10.4", "a byte over 16 MB", []kit.Frame{{Op: ws.OpText, Declares: size + 1}}, nil, 1009},
	})
}

// tryRules tries every rule, in segments of many sizes. It returns how often connections
// have ended with which code; what ends by 1002 in answer to a client's own 1002 is
// counted under 0.
func tryRules(n *kit.Node, t *testing.T, rules []rule) map[int]int {
	ends := map[int]int{}
	for _, r := range rules {
		for _, target := range r.targets() {
			for _, step := range r.steps() {
				t.Run(fmt.Sprintf("%s %s%s/%s", r.section, r.name, target, stepName(step)), func(t *testing.T) {
					c := n.Open(t, target)
					defer c.Leave()
					wait := kit.Background(t, 1, func(t kit.Tester, _ int) {
						for _, f := range r.pieces(step) {
							// The rest may meet a connection that is closed by now.
							if err := c.TryWrite(f); err != nil && !kit.Ended(err) {
								t.Errorf("write: %v", err)
							}
						}
					})
					for _, f := range r.want {
						c.Expect(f)
					}
					wait()
					ends[endRule(c, &r)]++
				})
			}
		}
	}
	return ends
}

// endRule sees the end of the connection as the rule has it, and returns the code that it
// is counted under.
func endRule(c *kit.Client, r *rule) int {
	c.T.Helper()
	first := slices.IndexFunc(r.send, func(f kit.Frame) bool { return f.Op == ws.OpClose })
	switch {
	case r.code == open:
		c.Send(kit.Closing(1000, ""))
		c.Expect(kit.Closing(1000, ""))
		c.ExpectCleanEnd()
		return open
	case first >= 0 && kit.CloseCode(r.send[first]) == r.code:
		// The answer has the client's code and nothing else.
		f := c.Frame()
		if f.Op != ws.OpClose || kit.CloseCode(f) != r.code || len(f.Body) > 2 {
			c.T.Fatalf("got frame op %#x %s, want the client's code %d", f.Op, kit.CloseText(f), r.code)
		}
		// What the client sends after its close frame may turn the end into a
		// reset.
		if first == len(r.send)-1 {
			c.ExpectCleanEnd()
		} else {
			c.ExpectEnd()
		}
		return open
	}
	c.ExpectClose(r.code)
	return r.code
}

// targets are the endpoints that the rule holds on: where it wants no message, all
// of them.
func (r *rule) targets() []string {
	if slices.ContainsFunc(r.want, func(f kit.Frame) bool { return f.Op.IsData() }) {
		return []string{modes.PathEcho}
	}
	return []string{modes.PathEcho, modes.PathRaw + "?channel=news", modes.PathCentrifuge}
}

// Sizes of the segments in which a rule's frames are sent, beside numbers of bytes.
const (
	allAtOnce = 0
	byFrame   = -1
)

func stepName(step int) string {
	switch step {
	case allAtOnce:
		return "all at once"
	case byFrame:
		return "frame by frame"
	}
	return fmt.Sprintf("%d bytes at a time", step)
}

func (r *rule) steps() []int {
	size := len(kit.Encode(r.send...))
	steps := []int{allAtOnce}
	if len(r.send) > 1 {
		steps = append(steps, byFrame)
	}
	switch {
	case size <= 600:
		return append(steps, 1)
	case size <= 2*maxEcho:
		return append(steps, 997)
	}
	return steps
}

// pieces are the rule's bytes in segments.
func (r *rule) pieces(step int) [][]byte {
	if step == byFrame {
		var pieces [][]byte
		for _, f := range r.send {
			pieces = append(pieces, kit.Encode(f))
		}
		return pieces
	}
	all := kit.Encode(r.send...)
	if step == allAtOnce {
		step = len(all)
	}
	return slices.Collect(slices.Chunk(all, step))
}

// fragments is a message in frames of size bytes.
func fragments(op ws.OpCode, body []byte, size int) []kit.Frame {
	var frames []kit.Frame
	for part := range slices.Chunk(body, size) {
		frames = append(frames, kit.Frame{Op: ws.OpContinuation, Body: part, More: true})
	}
	frames[0].Op, frames[len(frames)-1].More = op, false
	return frames
}

// pattern is n bytes of text in which every place shows.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdefghijklmnopqrstuvwxyz_"[i%37]
	}
	return b
}
