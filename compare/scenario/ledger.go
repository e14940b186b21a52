package scenario

import (
	"fmt"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/rig"
)

var ledger = Scenario{
	Name: result.LedgerScenario, Title: "The article's ledger",
	Shows: "Where each byte of a connection goes: the growth of the heap profile between two numbers of connections, sorted by what allocated it, beside stacks, memory of the process and the kernel.",
	// sampled finely, so that what is small is seen; that costs memory itself,
	// which is why this is a run of its own
	Env: []string{"GODEBUG=memprofilerate=4096"},
	sizes: map[string]Size{
		"tiny":  {Connections: []int{50, 300}, Bytes: 128, Settle: 1e8},
		"quick": {Connections: []int{1000, 9000}, Bytes: 128, Settle: 4e8},
		"full":  {Connections: []int{1000, 15000}, Bytes: 128, Settle: 2e9},
	},
	describe: func(s Size) string {
		return fmt.Sprintf("%s to %s on one channel", thousands(s.Connections[0]), connections(s.most()))
	},
	windows: func(s Size) int { return len(s.Connections) },
	run:     runLedger,
}

// position is everything that the ledger is made of, at one number of
// connections.
type position struct {
	reading
	heap map[string]float64 // bytes in use by item
}

func (b *bench) position(n int) (position, error) {
	// memory first: a profile has the garbage collected
	v, err := b.read(n)
	if err != nil {
		return position{}, err
	}
	p, err := b.Heap()
	if err != nil || p == nil {
		return position{reading: v}, err
	}
	items, err := itemize(p)
	return position{reading: v, heap: items}, err
}

func runLedger(b *bench) error {
	have := 0
	var at []position
	ends := []int{b.size.Connections[0], b.size.most()}
	w, err := b.Begin()
	if err != nil {
		return err
	}
	for _, n := range ends {
		if err := b.grow(&have, n); err != nil {
			return err
		}
		if err := b.Idle(b.size.Settle); err != nil {
			return err
		}
		p, err := b.position(n)
		if err != nil {
			return err
		}
		at = append(at, p)
	}
	m, err := w.End()
	if err != nil {
		return err
	}
	s := b.sample("", float64(have), m)
	s.Latency, s.Bound = "", result.BoundRate
	enter(s.Values, at[0], at[1], b.Nodes())
	if s.Counters, err = b.verify(settleTime); err != nil {
		return err
	}
	s.Expected = int64(have)
	b.keep(s)
	return nil
}

// enter puts what each connection added into values. The heap profile is the
// first node's, which has its share of the connections.
func enter(values map[string]float64, from, to position, nodes int) {
	n := float64(to.n - from.n)
	total := (float64(to.memory.PSS) - float64(from.memory.PSS)) / n
	values[result.LedgerTotal] = total
	values[result.LedgerKernel] = kernelSlope(from.reading, to.reading) / 2
	if !to.told || to.heap == nil {
		return
	}
	named := (to.runtime.Stacks - from.runtime.Stacks) / n
	values[result.LedgerStacks] = named
	for _, item := range result.Ledger {
		switch item.ID {
		case result.LedgerTotal, result.LedgerKernel, result.LedgerHeadroom:
			continue
		}
		v := (to.heap[item.ID] - from.heap[item.ID]) * float64(nodes) / n
		values[item.ID] += v
		named += v
	}
	values[result.LedgerHeadroom] = total - named
}

// itemize sums up the bytes in use of a heap profile by the ledger's items.
func itemize(p *profile.Profile) (map[string]float64, error) {
	value := -1
	for i, t := range p.SampleType {
		if t.Type == "inuse_space" {
			value = i
		}
	}
	if value < 0 {
		return nil, fmt.Errorf("%w: heap profile without inuse_space", rig.ErrRun)
	}
	items := make(map[string]float64)
	for _, s := range p.Sample {
		var size int64
		if sizes := s.NumLabel["bytes"]; len(sizes) > 0 {
			size = sizes[0]
		}
		items[itemOf(frames(s), size)] += float64(s.Value[value])
	}
	return items, nil
}

// frames are the functions of a sample, the innermost first.
func frames(s *profile.Sample) []string {
	var list []string
	for _, l := range s.Location {
		for _, line := range l.Line {
			if line.Function != nil {
				list = append(list, line.Function.Name)
			}
		}
	}
	return list
}

// large objects in places that make several are buffers, small ones records.
const large = 512

// rule says which item an allocation belongs to whose stack has a function that
// begins so or holds so. The innermost function that a rule knows decides.
type rule struct {
	begins, holds string
	item          string
	large         string // item of objects of at least large bytes, if another
}

var rules = []rule{
	{begins: "runtime.newproc", item: result.LedgerStacks},
	{begins: "runtime.malg", item: result.LedgerStacks},
	{begins: "bufio.NewReader", item: result.LedgerRead},
	{begins: "bufio.NewWriter", item: result.LedgerWrite},
	{begins: "github.com/gorilla/websocket.newConn", item: result.LedgerRecord, large: result.LedgerWrite},
	{holds: "/idiomatic.newQueue", item: result.LedgerQueue},
	{holds: "/modes/protocol/session.", item: result.LedgerSession},
	{holds: ".(*hub).", item: result.LedgerSession},
	{holds: ".(*audience).", item: result.LedgerSession},
	{holds: ".(*audiences).", item: result.LedgerSession},
	{holds: ").Subscribe", item: result.LedgerSession},
	{holds: ").subscribe", item: result.LedgerSession},
	{holds: ").join", item: result.LedgerSession},
	{begins: "net.", item: result.LedgerNet},
	{begins: "internal/poll.", item: result.LedgerNet},
	{holds: "/idiomatic.(*listener).", item: result.LedgerNet},
	{holds: "/modes/idiomatic.", item: result.LedgerRecord},
	{holds: "/modes/optimized.", item: result.LedgerRecord},
	{begins: "github.com/gorilla/websocket.", item: result.LedgerRecord},
	{begins: "github.com/gobwas/ws.", item: result.LedgerRecord},
	{begins: "net/http.", item: result.LedgerHTTP},
	{begins: "net/textproto.", item: result.LedgerHTTP},
}

// itemOf is the item that an allocation of size bytes with this stack belongs to.
func itemOf(stack []string, size int64) string {
	for _, f := range stack {
		if strings.Contains(f, "redis") {
			return result.LedgerOther // its buffers do not belong to a connection
		}
	}
	for _, f := range stack {
		for _, r := range rules {
			if r.begins != "" && !strings.HasPrefix(f, r.begins) || r.holds != "" && !strings.Contains(f, r.holds) {
				continue
			}
			if r.large != "" && size >= large {
				return r.large
			}
			return r.item
		}
	}
	return result.LedgerOther
}
