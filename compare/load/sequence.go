package load

// sequence accounts for the sequence number s of a message on r's channel.
func (in *intake) sequence(r *record, s uint32) {
	switch {
	case s == r.high+1 && r.flags&(based|owed) == based:
		r.high, r.window = s, r.window<<1|1
	case r.flags&based == 0:
		r.expect(s + 1)
	case s > r.high:
		in.count.Lost += int64(s - r.high - 1)
		r.advance(s)
	case s == r.high && r.flags&owed == 0:
		in.count.Duplicated++
	case s == r.high:
		r.flags &^= owed
		in.count.Reordered++
		in.count.Lost--
	default:
		back := r.high - s - 1
		switch {
		case back >= 64:
			in.count.Reordered++
		case r.window&(1<<back) != 0:
			in.count.Duplicated++
		default:
			r.window |= 1 << back
			in.count.Reordered++
			in.count.Lost--
		}
	}
}

// advance makes s, which is above high, the highest number seen, and those in between
// unseen.
func (r *record) advance(s uint32) {
	steps := s - r.high
	r.window <<= steps
	if r.flags&owed == 0 && steps <= 64 {
		r.window |= 1 << (steps - 1)
	}
	r.flags &^= owed
	r.high = s
}

// expect makes next the sequence number that r expects.
func (r *record) expect(next uint32) {
	r.flags = r.flags&^owed | based
	r.high, r.window = next-1, ^uint64(0)
}

// behind returns how many messages r has yet to receive up to last.
func (r *record) behind(last uint32) uint32 {
	if r.state != joined || r.flags&based == 0 || r.flags&frozen != 0 || r.high >= last {
		return 0
	}
	return last - r.high
}

// writeOff counts what r has not received up to last as lost. Messages that arrive
// later count as reordered and no longer as lost.
func (in *intake) writeOff(r *record, last uint32) {
	if missing := r.behind(last); missing > 0 {
		in.count.Lost += int64(missing)
		r.advance(last)
		r.flags |= owed
	}
}
