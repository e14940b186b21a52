package session

import "math"

// A connection has a share of what may be on its way to Redis: no client can fill
// the bus's queue, which is for all. What is beyond is answered with 111.
const (
	// publishShare is a connection's share, in units.
	publishShare = math.MaxUint8
	// publishUnit is how many bytes of data cost as much as another publish.
	publishUnit = 2 << 10
)

// takeShare takes what publishing size bytes costs from the connection's share, or
// reports that there is not enough. A connection without a publish on its way may
// send one of any size.
func (s *Session) takeShare(size int) (units uint8, ok bool) {
	cost := min(1+size/publishUnit, publishShare)
	if int(s.publishing)+cost > publishShare {
		return 0, false
	}
	units = uint8(cost)
	s.publishing += units
	return units, true
}

// returnShare gives back what takeShare took.
func (s *Session) returnShare(units uint8) { s.publishing -= units }
