package client

import (
	"fmt"

	"github.com/tandem-ws/tandem/compare/workload"
)

// silentGap is what a client missed whose protocol cannot signal gaps.
type silentGap struct {
	number   uint32
	kind     Kind
	name     string
	channel  uint32
	first, n uint32
}

// addSilentGap records a gap.
func (a *counts) addSilentGap(h silentGap) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silentGaps = append(a.silentGaps, h)
}

// addReceived records that a client of this kind has received a message.
func (a *counts) addReceived(k Kind, m workload.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kinds[k]++
	if !a.silent {
		return
	}
	seen := a.seen[m.Channel]
	for int(m.Sequence/64) >= len(seen) {
		seen = append(seen, 0)
	}
	seen[m.Sequence/64] |= 1 << (m.Sequence % 64)
	a.seen[m.Channel] = seen
}

// judge decides which silent gaps are losses: if another client of the pool received a
// message, the node had it.
func (a *counts) judge() {
	a.mu.Lock()
	silentGaps := a.silentGaps
	a.silentGaps = nil
	var lost []uint32
	for _, h := range silentGaps {
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
	for i, h := range silentGaps {
		a.unannounced.Add(int64(h.n - lost[i]))
		if lost[i] > 0 {
			a.fault(&a.lost, int64(lost[i]), fmt.Sprintf("client %d (%v): %s: of the %d from %d on that it lacks, others received %d", h.number, h.kind, h.name, h.n, h.first, lost[i]))
		}
	}
}
