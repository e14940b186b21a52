//go:build linux

package optimized

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// members gives a n subscribed connections that write to fd, -1 where nothing is
// written. The test takes them back before the loop ends.
func (l *loop) members(tb testing.TB, a *audience, n, fd int) {
	for range n {
		index, r := l.slab.take()
		r.fd, r.state, r.protocol = int32(fd), open, wire.JSON
		l.addPending(r, a)
		l.join(index, r, a, false)
	}
	tb.Cleanup(func() {
		for index := range l.slab.top {
			if r := l.slab.at(index); r.state != free {
				l.leaveAll(r)
				l.slab.put(index)
			}
		}
	})
}

// sink returns a socket that takes everything that is sent and does nothing with
// it: a datagram socket whose peer filters all of it out.
func sink(b *testing.B) int {
	b.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeAll(pair[:]) })
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	if err := unix.SetsockoptSockFprog(pair[1], unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: 1, Filter: &nothing[0]}); err != nil {
		b.Fatal(err)
	}
	return pair[0]
}

// BenchmarkFanOut is what a delivery costs with as little of the kernel as there
// can be, see sink. single is one publication a turn, burst 100 of one channel, apart
// one to a single connection among all those that it is not for.
func BenchmarkFanOut(b *testing.B) {
	socket := sink(b)
	payload := []byte(`"` + strings.Repeat("x", 126) + `"`)
	for _, connections := range []int{1000, 18000} {
		for _, c := range []struct {
			name                string
			messages, receivers int
		}{{"single", 1, connections}, {"burst", 100, connections}, {"apart", 1, 1}} {
			b.Run(fmt.Sprintf("%s/connections=%d", c.name, connections), func(b *testing.B) {
				l := testLoop(b)
				a := l.testAudience("news")
				l.members(b, a, c.receivers, socket)
				l.members(b, l.testAudience("other"), connections-c.receivers, socket)
				frame, _ := wire.PushFrame(wire.JSON, "news", payload)
				b.ReportAllocs()
				for b.Loop() {
					for range c.messages {
						l.inbox.publish(a, frames{wire.JSON: frame})
					}
					l.empty()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.messages*c.receivers), "ns/delivery")
			})
		}
	}
}

// BenchmarkUnsubscribe is what it costs to leave a channel and come back, which
// must not depend on how many are subscribed to it.
func BenchmarkUnsubscribe(b *testing.B) {
	for _, members := range []int{100, 10000, 1000000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			l := testLoop(b)
			a := l.testAudience("news")
			l.members(b, a, members, -1)
			b.ReportAllocs()
			index := uint32(0)
			for b.Loop() {
				r := l.slab.at(index)
				l.drop(r, 0)
				l.addPending(r, a)
				l.join(index, r, a, false)
				index = (index + 7919) % uint32(members)
			}
		})
	}
}
