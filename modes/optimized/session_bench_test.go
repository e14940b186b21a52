//go:build linux

package optimized

import (
	"bytes"
	"testing"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// BenchmarkConnectAndSubscribe is what a connection's two first commands cost,
// without system calls: frame, JSON, session, audience, replies.
func BenchmarkConnectAndSubscribe(b *testing.B) {
	l := testLoop(b)
	l.engine.Rules.MaxChannels = 10
	l.engine.Rules.PingInterval = 25e9
	a := l.testAudience("news")
	l.testConnection(b, wire.JSON, a) // so that the audience stays
	r, _ := l.testConnection(b, wire.JSON, a)
	frame := clientFrame(0x81, []byte(`{"id":1,"connect":{}}`+"\n"+`{"id":2,"subscribe":{"channel":"news"}}`))
	data := bytes.Clone(frame)
	b.ReportAllocs()
	for b.Loop() {
		l.drop(r, 0)
		r.session = session.Session{}
		copy(data, frame)
		l.messages(1, r, data)
		if len(l.reply) < 100 {
			b.Fatalf("reply %q", l.reply)
		}
		l.reply = l.reply[:0]
	}
}
