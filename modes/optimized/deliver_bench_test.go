//go:build linux

package optimized

import (
	"fmt"
	"os"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// BenchmarkDeliver is what one publication costs from the bus to the last write,
// with the clients' reads.
func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			l := testLoop(b)
			a := l.testAudience("news")
			clients := make([]*os.File, n)
			for i := range clients {
				_, clients[i] = l.testConnection(b, wire.JSON, a)
			}
			data := []byte(`{"hello":"world"}`)
			buffer := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				l.engine.Deliver(modes.Publication{Channel: []byte("news"), Data: data})
				l.empty()
				for _, c := range clients {
					if _, err := c.Read(buffer); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
