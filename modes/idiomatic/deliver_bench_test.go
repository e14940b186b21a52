package idiomatic

import (
	"fmt"
	"testing"

	"github.com/tandem-ws/tandem/modes"
)

// BenchmarkDeliver is what one publication costs from the bus to the last write,
// with the clients' reads.
func BenchmarkDeliver(b *testing.B) {
	for _, connections := range []int{1, 100} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			n := start(b)
			clients := make([]*client, connections)
			for i := range clients {
				clients[i] = n.dial(b, modes.PathRaw+"?channel=news")
			}
			data := []byte(`{"hello":"world"}`)
			b.ReportAllocs()
			for b.Loop() {
				n.Deliver(modes.Publication{Channel: []byte("news"), Data: data})
				for _, c := range clients {
					if _, _, err := c.ReadMessage(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
