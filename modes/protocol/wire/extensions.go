package wire

import "bytes"

// DeflateResponse is the Sec-WebSocket-Extensions header of a handshake that
// agrees on permessage-deflate (RFC 7692 section 7.1). Neither side keeps context
// from one message to the next: a server could share no frame otherwise, and
// would hold a window of 32 KB for every connection.
const DeflateResponse = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// OffersDeflate reads one Sec-WebSocket-Extensions header of a request (RFC 6455
// section 9.1). accepted tells whether it holds an offer of permessage-deflate
// that DeflateResponse answers; the client's window may be of any size. An offer
// is passed over that has a parameter which RFC 7692 section 7.1 does not know, a
// value that it does not allow, or a parameter twice, and one that limits the
// server's window, for all connections share frames that were made with the
// largest. valid says that the header obeys the grammar; if it does not, the
// handshake must fail.
func OffersDeflate(value []byte) (accepted, valid bool) {
	s := scanner{rest: value}
	for elements := 0; ; {
		s.space()
		// RFC 9110 section 5.6.1: empty elements of a list are ignored.
		if s.take(',') {
			continue
		}
		if len(s.rest) == 0 {
			return accepted, elements > 0
		}
		elements++
		good, ok := s.extension()
		if !ok {
			return false, false
		}
		accepted = accepted || good
		if len(s.rest) > 0 && !s.take(',') {
			return false, false
		}
	}
}

// scanner takes a header's value apart.
type scanner struct {
	rest []byte
	room [3]byte // the start of a quoted string's content
}

// extension reads one extension with its parameters, and the space behind them.
// good: it is an offer that can be accepted.
func (s *scanner) extension() (good, ok bool) {
	name := s.token()
	if name == nil {
		return false, false
	}
	good = string(name) == "permessage-deflate"
	var seen [4]bool
	for s.space(); s.take(';'); s.space() {
		s.space()
		parameter, value, has, ok := s.parameter()
		if !ok {
			return false, false
		}
		number, allowed := deflateParameter(parameter, value, has)
		if !allowed || seen[number] {
			good = false
			continue
		}
		seen[number] = true
	}
	return good, true
}

// parameter reads a name, and its value if it has one.
func (s *scanner) parameter() (name, value []byte, has, ok bool) {
	if name = s.token(); name == nil {
		return nil, nil, false, false
	}
	s.space()
	if !s.take('=') {
		return name, nil, false, true
	}
	s.space()
	if s.take('"') {
		value, ok = s.quoted()
		return name, value, true, ok
	}
	value = s.token()
	return name, value, true, value != nil
}

// deflateParameter numbers the parameters of an offer; allowed: we can accept
// an offer that has this one.
func deflateParameter(name, value []byte, has bool) (number int, allowed bool) {
	switch string(name) {
	case "server_no_context_takeover":
		return 0, !has
	case "client_no_context_takeover":
		return 1, !has
	case "client_max_window_bits":
		return 2, !has || windowBits(value)
	}
	return 3, false
}

// windowBits tells whether value is a decimal from 8 to 15 without leading zeros
// (RFC 7692 section 7.1.2).
func windowBits(value []byte) bool {
	switch len(value) {
	case 1:
		return value[0] == '8' || value[0] == '9'
	case 2:
		return value[0] == '1' && value[1] >= '0' && value[1] <= '5'
	}
	return false
}

func (s *scanner) take(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) space() { s.rest = bytes.TrimLeft(s.rest, " \t") }

// token reads a token (RFC 9110 section 5.6.2); nil: there is none.
func (s *scanner) token() []byte {
	n := 0
	for n < len(s.rest) && tokenByte(s.rest[n]) {
		n++
	}
	if n == 0 {
		return nil
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token
}

// quoted reads the rest of a quoted string, whose content must be a token too
// (RFC 6455 section 9.1). It returns as much of it as shows that it is too long
// for any value that is allowed.
func (s *scanner) quoted() (value []byte, ok bool) {
	n := 0
	for len(s.rest) > 0 {
		if s.take('"') {
			return s.room[:min(n, len(s.room))], n > 0
		}
		s.take('\\')
		if len(s.rest) == 0 || !tokenByte(s.rest[0]) {
			return nil, false
		}
		if n < len(s.room) {
			s.room[n] = s.rest[0]
		}
		s.rest = s.rest[1:]
		n++
	}
	return nil, false
}

func tokenByte(c byte) bool {
	switch {
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return true
	}
	return bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}
