//go:build linux

package optimized

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestWheel arms, re-arms and disarms at random and compares with a map.
func TestWheel(t *testing.T) {
	var records slab
	start := time.Now()
	w := newWheel(&records, start)
	random := rand.New(rand.NewPCG(1, 2))
	due := map[uint32]time.Time{}
	for range 500 {
		records.take()
	}
	now := start
	for range 20_000 {
		index := uint32(random.IntN(500))
		switch random.IntN(4) {
		case 0:
			w.disarm(index)
			delete(due, index)
		case 1:
			d := time.Duration(random.Int64N(int64(2 * slots * tick)))
			w.arm(index, d)
			due[index] = now.Add(d)
		default:
			if next, ok := w.next(); ok != (len(due) > 0) {
				t.Fatalf("next says %v with %d armed", ok, len(due))
			} else if ok && next.Before(now.Add(-tick)) {
				t.Fatalf("next is %v ago", now.Sub(next))
			}
			now = now.Add(time.Duration(random.Int64N(int64(20 * tick))))
			w.turn(now, func(index uint32) {
				at, armed := due[index]
				if !armed || at.After(now) {
					t.Fatalf("record %d fired, armed %v, %v too early", index, armed, at.Sub(now))
				}
				delete(due, index)
			})
			for index, at := range due {
				if now.Sub(at) > 3*tick {
					t.Fatalf("record %d is %v late", index, now.Sub(at))
				}
			}
		}
	}
}

// TestWheelAfterARest: what is armed after a long rest, before the wheel turns, is
// due from then on, and not from before the rest.
func TestWheelAfterARest(t *testing.T) {
	var records slab
	start := time.Now()
	w := newWheel(&records, start)
	index, _ := records.take()
	now := start.Add(time.Hour)
	w.tell(now)
	w.arm(index, time.Second)
	fired := false
	fire := func(uint32) { fired = true }
	if w.turn(now, fire); fired {
		t.Fatal("fired at once")
	}
	if w.turn(now.Add(time.Second-time.Millisecond), fire); fired {
		t.Fatal("fired too early")
	}
	if w.turn(now.Add(time.Second+2*tick), fire); !fired {
		t.Error("did not fire")
	}
}

func TestSlabForgetsEndedConnections(t *testing.T) {
	var s slab
	index, r := s.take()
	r.state = open
	old := handle{index, r.generation}
	if s.find(old) != r {
		t.Fatal("a live connection is not found")
	}
	s.put(index)
	if s.find(old) != nil {
		t.Error("an ended connection is found")
	}
	again, r := s.take()
	r.state = open
	if again != index {
		t.Fatalf("place %d is not reused, %d is", index, again)
	}
	if s.find(old) != nil {
		t.Error("the old handle finds the new connection")
	}
	if s.find(handle{index: 1 << 20}) != nil {
		t.Error("a handle that was never given finds something")
	}
}
