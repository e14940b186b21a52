//go:build linux

package optimized

import (
	"math/bits"
	"time"
)

// The wheel turns one slot a tick. A deadline beyond its horizon waits in the
// last slot and is put in again from there.
const (
	tick  = 32 * time.Millisecond
	slots = 1024
)

// timer is a record's place in the wheel.
type timer struct {
	due        uint32 // the tick it is due at
	next, prev uint32 // neighbours in the slot's list, by record index
	slot       uint32 // none: not in the wheel
}

// wheel holds at most one deadline for each record: lists threaded through the
// records themselves, so that arming and disarming cost no memory and O(1).
type wheel struct {
	records *slab
	start   time.Time
	now     uint32 // ticks since start that have been handled
	clock   uint32 // ticks since start, as told: ahead of now in a turn after a rest
	heads   [slots]uint32
	filled  [slots / 64]uint64 // which slots have a list
}

func newWheel(records *slab, start time.Time) *wheel {
	w := &wheel{records: records, start: start}
	for i := range w.heads {
		w.heads[i] = none
	}
	return w
}

// tell tells the wheel the time, without turning it.
func (w *wheel) tell(now time.Time) { w.clock = uint32(now.Sub(w.start) / tick) }

// arm sets the record's deadline to the first tick that is at least d away,
// instead of one it has.
func (w *wheel) arm(index uint32, d time.Duration) {
	w.disarm(index)
	// Rounded up and one more: the current tick has begun already.
	w.insert(index, w.clock+uint32((d+tick-1)/tick)+1)
}

func (w *wheel) insert(index, due uint32) {
	r := w.records.at(index)
	slot := (w.now + min(due-w.now, slots-1)) % slots
	r.timer = timer{due: due, next: w.heads[slot], prev: none, slot: slot}
	if r.timer.next != none {
		w.records.at(r.timer.next).timer.prev = index
	}
	w.heads[slot] = index
	w.filled[slot/64] |= 1 << (slot % 64)
}

// disarm removes the record's deadline, if it has one.
func (w *wheel) disarm(index uint32) {
	r := w.records.at(index)
	t := &r.timer
	if t.slot == none {
		return
	}
	if t.prev != none {
		w.records.at(t.prev).timer.next = t.next
	} else {
		w.heads[t.slot] = t.next
		if t.next == none {
			w.filled[t.slot/64] &^= 1 << (t.slot % 64)
		}
	}
	if t.next != none {
		w.records.at(t.next).timer.prev = t.prev
	}
	t.slot, t.next, t.prev = none, none, none
}

// turn calls fire with every record whose deadline has come by now. fire may arm
// and disarm any record.
func (w *wheel) turn(now time.Time, fire func(index uint32)) {
	w.tell(now)
	for w.now != w.clock {
		w.now++
		slot := w.now % slots
		for w.heads[slot] != none {
			index := w.heads[slot]
			w.disarm(index)
			if due := w.records.at(index).timer.due; due != w.now {
				w.insert(index, due)
				continue
			}
			fire(index)
		}
	}
}

// next returns when the next slot with a deadline is due; false: there is none.
func (w *wheel) next() (time.Time, bool) {
	from := (w.now + 1) % slots
	for i := range uint32(len(w.filled) + 1) {
		word := (from/64 + i) % uint32(len(w.filled))
		set := w.filled[word]
		if i == 0 {
			set &= ^uint64(0) << (from % 64)
		}
		if set == 0 {
			continue
		}
		slot := word*64 + uint32(bits.TrailingZeros64(set))
		ahead := (slot + slots - from) % slots
		return w.start.Add(time.Duration(w.now+1+ahead) * tick), true
	}
	return time.Time{}, false
}
