package load

// pacer computes when events that happen rate times a second are due, from the rate
// and the start only, so that falling behind never changes the intended times.
type pacer struct {
	rate  float64 // a second; 0: at once
	start int64   // ns since 1970
	done  int     // how many have been taken
}

// intended returns when the i-th event, counted from 0, is due.
func (p *pacer) intended(i int) int64 {
	if p.rate == 0 {
		return p.start
	}
	return p.start + int64(float64(i)/p.rate*1e9)
}

// due reports whether another event is due at time now.
func (p *pacer) due(now int64) bool { return p.next() <= now }

// next returns when the next event is due.
func (p *pacer) next() int64 { return p.intended(p.done) }
