//go:build linux

package optimized

import (
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// state is how far a connection is.
type state uint8

const (
	free       state = iota
	securing         // the TLS handshake is not complete
	requesting       // the request is not complete
	waiting          // channels by query: the request is, Redis has not confirmed them
	open             // upgraded
	closing          // our close frame is queued or sent, the client's is due
)

// none is no index.
const none = ^uint32(0)

// record is one connection. It holds no pointers, so that the garbage collector
// never looks at it, and indices into the loop's side tables in their stead.
type record struct {
	fd             int32
	generation     uint32 // grows when the record is freed, so that nothing old finds it
	state          state
	protocol       wire.Protocol
	session        session.Session
	failed         bool  // an error was seen: it ends with this turn of the loop
	pinged         bool  // the deadline is that of a pong
	answered       bool  // the client's close frame has come
	discarding     bool  // nothing that the client sends is looked at (any more)
	discardedReads uint8 // reads that were thrown away since
	deflate        bool  // permessage-deflate has been negotiated

	timer timer

	in  uint32 // its unfinished input in loop.inputs
	out uint32 // its outbox in loop.outboxes

	// The first subscription lies in the record, for most connections have
	// one; the others, if any, in loop.more.
	first subscription
	more  uint32
}

// form is how the connection is sent publications.
func (r *record) form() wire.Form { return r.protocol.Form(r.deflate) }

// subscription is one connection's place in one channel's audience.
type subscription struct {
	audience uint32 // in loop.audiences; none: no subscription
	position uint32 // in audience.members; none: Redis has not confirmed yet
}

// handle is a connection as others remember it: it finds the record only while
// it is the same connection.
type handle struct {
	index      uint32
	generation uint32
}

// chunkBits is the binary logarithm of how many records a slab grows by.
const chunkBits = 10

type chunk [1 << chunkBits]record

// slab holds a loop's records. They never move.
type slab struct {
	chunks []*chunk
	unused []uint32 // freed records, the last freed first
	top    uint32   // records that were ever used
	live   int
}

// take returns a cleared record and its index.
func (s *slab) take() (uint32, *record) {
	var index uint32
	if n := len(s.unused); n > 0 {
		index, s.unused = s.unused[n-1], s.unused[:n-1]
	} else {
		index = s.top
		if int(index>>chunkBits) == len(s.chunks) {
			s.chunks = append(s.chunks, new(chunk))
		}
		s.top++
	}
	s.live++
	r := s.at(index)
	*r = record{
		generation: r.generation, in: none, out: none, more: none,
		first: subscription{audience: none},
		timer: timer{next: none, prev: none, slot: none},
	}
	return index, r
}

// put frees a record.
func (s *slab) put(index uint32) {
	r := s.at(index)
	r.state = free
	r.generation++
	s.live--
	s.unused = append(s.unused, index)
}

func (s *slab) at(index uint32) *record {
	return &s.chunks[index>>chunkBits][index&(1<<chunkBits-1)]
}

// find returns the record that h meant, nil if that connection has ended.
func (s *slab) find(h handle) *record {
	if h.index >= s.top {
		return nil
	}
	r := s.at(h.index)
	if r.generation != h.generation || r.state == free {
		return nil
	}
	return r
}

// table is a side table of pointers with reused places.
type table[T any] struct {
	items  []*T
	unused []uint32
}

// add puts item into the table.
func (t *table[T]) add(item *T) uint32 {
	if n := len(t.unused); n > 0 {
		var index uint32
		index, t.unused = t.unused[n-1], t.unused[:n-1]
		t.items[index] = item
		return index
	}
	t.items = append(t.items, item)
	return uint32(len(t.items) - 1)
}

// remove takes the item out and returns it.
func (t *table[T]) remove(index uint32) *T {
	item := t.items[index]
	t.items[index] = nil
	t.unused = append(t.unused, index)
	return item
}
