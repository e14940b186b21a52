package enginetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// rule is one row of the suite of RFC 6455: what a client sends after its
// handshake, and what it must get.
type rule struct {
	section string // of the RFC
	name    string
	send    []frame
	want    []frame // messages and pongs, in order
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

func testRules(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.MaxMessageSize, s.limits.MaxQueuedBytes = maxEcho, 8*maxEcho })
	tried := n.try(t, rules())
	n.settle(t)
	// Every end is counted as what it is.
	for reason, codes := range map[string][]int{
		wire.DisconnectProtocol.Reason: {1002}, wire.DisconnectInvalidPayload.Reason: {1007}, wire.DisconnectTooBig.Reason: {1009},
	} {
		ends := 0
		for _, code := range codes {
			ends += tried[code]
			delete(tried, code)
		}
		n.awaitDisconnects(t, reason, ends)
	}
	closed := 0
	for _, ends := range tried {
		closed += ends
	}
	n.awaitDisconnects(t, modes.ReasonClientClosed, closed)
}

// testLargestRules tries messages of 16 MB, whole and in fragments.
func testLargestRules(t *testing.T, build Build) {
	const size = 16 << 20
	n := start(t, build, func(s *setup) { s.limits.MaxMessageSize, s.limits.MaxQueuedBytes = size, 4*size })
	body := pattern(size)
	whole := frame{op: ws.OpText, body: body}
	n.try(t, []rule{
		{"5.2", "text of 16 MB", []frame{whole}, []frame{whole}, open},
		{"5.2", "binary of 16 MB", []frame{{op: ws.OpBinary, body: body}}, []frame{{op: ws.OpBinary, body: body}}, open},
		{"5.4", "16 MB in fragments of 64 KB", fragments(ws.OpText, body, 64<<10), []frame{whole}, open},
		{"5.4", "16 MB in fragments of 4 KB", fragments(ws.OpText, body, 4<<10), []frame{whole}, open},
		{"10.4", "a byte over 16 MB", []frame{{op: ws.OpText, declares: size + 1}}, nil, 1009},
	})
}

// try tries every rule, in segments of many sizes. It returns how often connections
// have ended with which code; what ends by 1002 in answer to a client's own 1002 is
// counted under 0.
func (n *node) try(t *testing.T, rules []rule) map[int]int {
	ends := map[int]int{}
	for _, r := range rules {
		for _, target := range r.targets() {
			for _, step := range r.steps() {
				t.Run(fmt.Sprintf("%s %s%s/%s", r.section, r.name, target, stepName(step)), func(t *testing.T) {
					c := n.open(t, target)
					defer c.leave()
					wait := background(t, 1, func(t tester, _ int) {
						for _, f := range r.pieces(step) {
							// The rest may meet a connection that is closed by now.
							if err := c.tryWrite(f); err != nil && !ended(err) {
								t.Errorf("write: %v", err)
							}
						}
					})
					for _, f := range r.want {
						c.expect(f)
					}
					wait()
					ends[c.end(&r)]++
				})
			}
		}
	}
	return ends
}

// end sees the end of the connection as the rule has it, and returns the code that it
// is counted under.
func (c *client) end(r *rule) int {
	c.t.Helper()
	first := slices.IndexFunc(r.send, func(f frame) bool { return f.op == ws.OpClose })
	switch {
	case r.code == open:
		c.send(closing(1000, ""))
		c.expect(closing(1000, ""))
		c.expectCleanEnd()
		return open
	case first >= 0 && closeCode(r.send[first]) == r.code:
		// The answer has the client's code and nothing else.
		f := c.frame()
		if f.op != ws.OpClose || closeCode(f) != r.code || len(f.body) > 2 {
			c.t.Fatalf("got frame op %#x %s, want the client's code %d", f.op, closeText(f), r.code)
		}
		// What the client sends after its close frame may turn the end into a
		// reset.
		if first == len(r.send)-1 {
			c.expectCleanEnd()
		} else {
			c.expectEnd()
		}
		return open
	}
	c.expectClose(r.code)
	return r.code
}

// targets are the endpoints that the rule holds on: where it wants no message, all
// of them.
func (r *rule) targets() []string {
	if slices.ContainsFunc(r.want, func(f frame) bool { return f.op.IsData() }) {
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
	size := len(encode(r.send...))
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
			pieces = append(pieces, encode(f))
		}
		return pieces
	}
	all := encode(r.send...)
	if step == allAtOnce {
		step = len(all)
	}
	return slices.Collect(slices.Chunk(all, step))
}

// fragments is a message in frames of size bytes.
func fragments(op ws.OpCode, body []byte, size int) []frame {
	var frames []frame
	for part := range slices.Chunk(body, size) {
		frames = append(frames, frame{op: ws.OpContinuation, body: part, more: true})
	}
	frames[0].op, frames[len(frames)-1].more = op, false
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
