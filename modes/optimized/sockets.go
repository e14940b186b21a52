//go:build linux

package optimized

import "github.com/tandem-ws/tandem/modes/admission"

// counted is what a socket counts as, and the answer to its request if it is over a
// limit.
type counted struct {
	socket  admission.Socket
	refusal *admission.Refusal
}

// sockets has what the sockets of a loop count as, by the record's index. One that
// counts against the limit of all alone is not in it: it costs nothing here.
type sockets map[uint32]counted

func (s sockets) put(index uint32, as counted) {
	if as != (counted{}) {
		s[index] = as
	}
}

// take returns what a socket counts as, which is the caller's.
func (s sockets) take(index uint32) counted {
	if len(s) == 0 {
		return counted{}
	}
	as := s[index]
	delete(s, index)
	return as
}

// refusal returns the answer to whatever a connection requests; nil: there is none.
func (s sockets) refusal(index uint32) *admission.Refusal {
	if len(s) == 0 {
		return nil
	}
	return s[index].refusal
}

// turnAwaySocket counts a connection that has been refused as one that is over a limit. ok
// is false if there is no room for it any more.
func (l *loop) turnAwaySocket(index uint32) (ok bool) {
	as := l.sockets.take(index)
	as.socket, ok = l.engine.Admission.TurnAway(as.socket)
	l.sockets.put(index, as)
	return ok
}
