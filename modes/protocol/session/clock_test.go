package session

import (
	"strings"
	"testing"
	"time"
)

// A deadline must be on the monotonic clock: one on the wall clock would end
// connections, or keep them, whenever that clock is set.
func TestDeadline(t *testing.T) {
	now := time.Now()
	for _, in := range []int64{-5, 0, 1, 3600, 400 * 24 * 3600} {
		d := Deadline(now, now.Unix()+in)
		if left := d.Sub(now); left > time.Duration(in)*time.Second || left < time.Duration(in-1)*time.Second {
			t.Errorf("%d s from now: in %v", in, left)
		}
		if !strings.Contains(d.String(), "m=") {
			t.Errorf("%d s from now: %v is on the wall clock", in, d)
		}
		if got := instantOf(d).time(); !got.Equal(d) || got.Sub(now) != d.Sub(now) {
			t.Errorf("the instant of %v is %v", d, got)
		}
	}
	if d := Deadline(now, 0); !d.IsZero() || instantOf(d) != never || !instantOf(d).time().IsZero() {
		t.Errorf("never: %v", d)
	}
	// Beyond what a Duration can express.
	if d := Deadline(now, 253402300799); d.Sub(now) < 200*365*24*time.Hour || instantOf(d).time().Sub(now) < 200*365*24*time.Hour {
		t.Errorf("in the year 9999: %v", d)
	}
}
