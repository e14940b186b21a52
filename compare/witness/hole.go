package witness

import (
	"fmt"

	"github.com/tandem-ws/tandem/compare/payload"
)

// hole is what a witness missed whose protocol has no word for it.
type hole struct {
	number   uint32
	kind     Kind
	name     string
	channel  uint32
	first, n uint32
}

// silence notes a hole.
func (a *account) silence(h hole) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.holes = append(a.holes, h)
}

// came notes that a witness of this kind has received a message.
func (a *account) came(k Kind, m payload.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kinds[k]++
	if !a.mute {
		return
	}
	seen := a.seen[m.Channel]
	for int(m.Sequence/64) >= len(seen) {
		seen = append(seen, 0)
	}
	seen[m.Sequence/64] |= 1 << (m.Sequence % 64)
	a.seen[m.Channel] = seen
}

// judge tells holes of the link to Redis from losses: what another witness of the
// crew has received the node had.
func (a *account) judge() {
	a.mu.Lock()
	holes := a.holes
	a.holes = nil
	var lost []uint32
	for _, h := range holes {
		var n uint32
		seen := a.seen[h.channel]
		for s := h.first; s < h.first+h.n; s++ {
			if int(s/64) < len(seen) && seen[s/64]&(1<<(s%64)) != 0 {
				n++
			}
		}
		lost = append(lost, n)
	}
	a.mu.Unlock()
	for i, h := range holes {
		a.untold.Add(int64(h.n - lost[i]))
		if lost[i] > 0 {
			a.fault(&a.lost, int64(lost[i]), fmt.Sprintf("witness %d (%v): %s: of the %d from %d on that it lacks, others received %d", h.number, h.kind, h.name, h.n, h.first, lost[i]))
		}
	}
}
