package scenario

import (
	"fmt"
	"path"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
)

var ledger = Scenario{
	Name: result.LedgerScenario, Title: "The article's ledger",
	Shows: "Where each byte of a connection goes: the growth of the heap profile between two numbers of connections, sorted by what allocated it, beside stacks, memory of the process and the kernel.",
	// The fine sampling rate finds small objects but costs memory itself, so this is a
	// run of its own.
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

// position is everything that the ledger is computed from, at one number of
// connections.
type position struct {
	reading
	heap map[string]float64 // bytes in use by item
}

func (b *bench) position(n int) (position, error) {
	// memory first, because reading a profile collects garbage
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

// enter adds what each connection holds to values. The heap profile is that of the
// first node, which has its share of the connections.
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

// itemize sums up the bytes in use of a heap profile by item of the ledger.
func itemize(p *profile.Profile) (map[string]float64, error) {
	value := -1
	for i, t := range p.SampleType {
		if t.Type == "inuse_space" {
			value = i
		}
	}
	if value < 0 {
		return nil, fmt.Errorf("%w: heap profile without inuse_space", testbed.ErrRun)
	}
	items := make(map[string]float64)
	for _, s := range p.Sample {
		var size int64
		if sizes := s.NumLabel["bytes"]; len(sizes) > 0 {
			size = sizes[0]
		}
		items[itemOf(calls(s), size)] += float64(s.Value[value])
	}
	return items, nil
}

// call is a call on the stack of a sample.
type call struct {
	function string // with its package
	file     string // base name of its source file
}

// calls returns the stack of a sample, innermost call first.
func calls(s *profile.Sample) []call {
	var list []call
	for _, l := range s.Location {
		for _, line := range l.Line {
			if line.Function != nil {
				list = append(list, call{line.Function.Name, path.Base(line.Function.Filename)})
			}
		}
	}
	return list
}

// large objects in functions that allocate several are buffers, small ones records.
const large = 512

// rule assigns an allocation to an item. All conditions that are set must hold for a
// call on its stack; the innermost call that a rule applies to decides. Conditions
// name packages, source files and what the contract of the engines names, so that
// the engines' own types may change.
type rule struct {
	prefix   string // of the function with its package
	contains string // in the function with its package
	file     string // how the name of the source file begins
	item     string
	large    string // item of objects of at least large bytes, if it is another
}

const engines = "/modes/"

var rules = []rule{
	{prefix: "runtime.newproc", item: result.LedgerStacks},
	{prefix: "runtime.malg", item: result.LedgerStacks},
	{prefix: "bufio.NewReader", item: result.LedgerRead},
	{prefix: "bufio.NewWriter", item: result.LedgerWrite},
	{prefix: "github.com/gorilla/websocket.newConn", item: result.LedgerRecord, large: result.LedgerWrite},
	{contains: "/modes/protocol/", item: result.LedgerSession},
	{contains: "/modes/fanout", item: result.LedgerSession},
	{contains: engines, file: "queue", item: result.LedgerQueue},
	{contains: engines, file: "hub", item: result.LedgerSession},
	{contains: engines, file: "audience", item: result.LedgerSession},
	{contains: engines, file: "subscri", item: result.LedgerSession},
	{contains: engines, file: "fanout", item: result.LedgerSession},
	{contains: engines, file: "channel", item: result.LedgerSession},
	{contains: ").Subscribe", item: result.LedgerSession},
	{contains: ").subscribe", item: result.LedgerSession},
	{contains: ").join", item: result.LedgerSession},
	{prefix: "net.", item: result.LedgerNet},
	{prefix: "internal/poll.", item: result.LedgerNet},
	{contains: engines, file: "listener", item: result.LedgerNet},
	{contains: engines, file: "accept", item: result.LedgerNet},
	{contains: engines, item: result.LedgerRecord},
	{prefix: "github.com/gorilla/websocket.", item: result.LedgerRecord},
	{prefix: "github.com/gobwas/ws.", item: result.LedgerRecord},
	{prefix: "net/http.", item: result.LedgerHTTP},
	{prefix: "net/textproto.", item: result.LedgerHTTP},
}

func (r *rule) applies(c call) bool {
	return strings.HasPrefix(c.function, r.prefix) && strings.Contains(c.function, r.contains) && strings.HasPrefix(c.file, r.file)
}

// itemOf returns the item that an allocation of size bytes with this stack belongs to.
func itemOf(stack []call, size int64) string {
	for _, c := range stack {
		if strings.Contains(c.function, "redis") {
			return result.LedgerOther // its buffers do not belong to a connection
		}
	}
	for _, c := range stack {
		for i := range rules {
			r := &rules[i]
			if !r.applies(c) {
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
