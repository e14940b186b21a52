package load

// state is the state of a connection.
type state uint8

const (
	unused    state = iota
	dialing         // connect(2) under way
	upgrading       // request sent, 101 awaited
	joining         // upgraded, subscription awaited
	joined          // subscribed
	closing         // close frame sent, end awaited
)

// flags of a record.
type flags uint16

const (
	based       flags = 1 << iota // high is a baseline to count from
	counted                       // not yet subscribed, part of the connect command
	replacement                   // not yet subscribed, in place of one that churn ended
	frozen                        // not being read
	fragmented                    // between the frames of a fragmented message
	lastFrame                     // the data frame under way ends its message
	wasJoined                     // has been subscribed at some time
	spilled                       // output that the socket did not take is waiting
	owed                          // high itself was written off as lost
)

// record is everything that is stored for one connection, without pointers, so that
// the garbage collector does not scan it. Only the loop touches records.
type record struct {
	window  uint64 // bit i: sequence number high-1-i was seen
	remain  uint64 // payload bytes of the current data frame still to come
	started int64  // intended start; when closing, the deadline; ns since 1970
	fd      int32
	index   uint32 // of this record
	gen     uint32 // counts the uses of this record
	channel uint32 // channel number, 0 for a shared channel
	high    uint32 // highest sequence number seen
	sent    uint32 // publish commands sent into the channel
	stash   uint32 // slot holding an unfinished header or control frame, 0 none
	part    uint32 // slot holding the beginning of an unfinished message, 0 none
	offset  uint16 // where the last message's payload began
	group   uint16
	state   state
	flags   flags
}

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

// slab holds the records in chunks that never move.
type slab struct {
	chunks []*[chunkSize]record
	free   []uint32
	used   int // records ever taken: indexes below it may be in use
}

func (s *slab) at(i uint32) *record { return &s.chunks[i>>chunkBits][i&(chunkSize-1)] }

// take returns an unused record with a new generation.
func (s *slab) take() *record {
	if n := len(s.free); n > 0 {
		r := s.at(s.free[n-1])
		s.free = s.free[:n-1]
		return r
	}
	if s.used == len(s.chunks)<<chunkBits {
		s.chunks = append(s.chunks, new([chunkSize]record))
	}
	r := s.at(uint32(s.used))
	r.index = uint32(s.used)
	s.used++
	return r
}

// give frees r; events of its last use no longer match its generation.
func (s *slab) give(r *record) {
	*r = record{index: r.index, gen: r.gen + 1, fd: -1}
	s.free = append(s.free, r.index)
}

const slotSize = 256

// slot stores bytes of a frame that arrived in pieces.
type slot struct {
	len  uint16
	data [slotSize]byte
}

// slots are numbered from 1, so that 0 means none.
type slots struct {
	chunks []*[64]slot
	free   []uint32
}

func (s *slots) at(i uint32) *slot { return &s.chunks[(i-1)/64][(i-1)%64] }

func (s *slots) take() uint32 {
	if len(s.free) == 0 {
		base := uint32(len(s.chunks)) * 64
		s.chunks = append(s.chunks, new([64]slot))
		for i := uint32(64); i > 0; i-- {
			s.free = append(s.free, base+i)
		}
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.at(i).len = 0
	return i
}

// drop frees slot *i, if there is one.
func (s *slots) drop(i *uint32) {
	if *i != 0 {
		s.free = append(s.free, *i)
		*i = 0
	}
}

// add appends as much of b as fits to slot *i, allocating one if there is none.
func (s *slots) add(i *uint32, b []byte) {
	if *i == 0 {
		*i = s.take()
	}
	at := s.at(*i)
	at.len += uint16(copy(at.data[at.len:], b))
}

func (s *slots) bytes(i uint32) []byte {
	if i == 0 {
		return nil
	}
	at := s.at(i)
	return at.data[:at.len]
}
