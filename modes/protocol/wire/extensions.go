package wire

import "bytes"

// DeflateResponse is the Sec-WebSocket-Extensions header of a handshake that
// agrees on permessage-deflate (RFC 7692 section 7.1). Neither side keeps context
// from one message to the next: a server could share no frame otherwise, and
// would hold a window of 32 KB for every connection.
const DeflateResponse = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// deflateResponseWindow accepts an offer that limits the server's window to the
// largest there is, which it must repeat (RFC 7692 section 7.1.2.1).
const deflateResponseWindow = DeflateResponse + "; server_max_window_bits=15"

// AcceptDeflate reads one Sec-WebSocket-Extensions header of a request (RFC 6455
// section 9.1) and returns the header that accepts its first acceptable offer of
// permessage-deflate; empty if there is none. The client's window may be of any size.
// An offer is declined if it has a parameter that RFC 7692 section 7.1 does not
// define, a value that it does not allow, or a parameter twice, or if it limits the
// server's window: connections share frames, which are made with the largest. valid
// reports whether the header obeys the grammar; if not, the handshake must fail.
func AcceptDeflate(value []byte) (response string, valid bool) {
	s := scanner{rest: value}
	for elements := 0; ; {
		s.space()
		// RFC 9110 section 5.6.1: empty elements of a list are ignored.
		if s.take(',') {
			continue
		}
		if len(s.rest) == 0 {
			return response, elements > 0
		}
		elements++
		accepted, ok := s.extension()
		if !ok || len(s.rest) > 0 && !s.take(',') {
			return "", false
		}
		if response == "" {
			response = accepted
		}
	}
}

// scanner takes a header's value apart.
type scanner struct {
	rest []byte
	room [3]byte // the start of a quoted string's content
}

// extension reads one extension with its parameters, and the space behind them. It
// returns the response that accepts it, empty if it is not accepted.
func (s *scanner) extension() (response string, ok bool) {
	name := s.token()
	if name == nil {
		return "", false
	}
	good := string(name) == "permessage-deflate"
	var seen [deflateParameters]bool
	for s.space(); s.take(';'); s.space() {
		s.space()
		parameter, value, has, ok := s.parameter()
		if !ok {
			return "", false
		}
		number, allowed := deflateParameter(parameter, value, has)
		if !allowed || seen[number] {
			good = false
			continue
		}
		seen[number] = true
	}
	switch {
	case !good:
		return "", true
	case seen[serverMaxWindowBits]:
		return deflateResponseWindow, true
	}
	return DeflateResponse, true
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

// The parameters of an offer (RFC 7692 section 7.1).
const (
	serverNoContextTakeover = iota
	clientNoContextTakeover
	serverMaxWindowBits
	clientMaxWindowBits
	unknownParameter
	deflateParameters
)

// deflateParameter returns which parameter of an offer this is; allowed reports
// whether an offer that has it can be accepted.
func deflateParameter(name, value []byte, has bool) (number int, allowed bool) {
	switch string(name) {
	case "server_no_context_takeover":
		return serverNoContextTakeover, !has
	case "client_no_context_takeover":
		return clientNoContextTakeover, !has
	case "server_max_window_bits":
		return serverMaxWindowBits, string(value) == "15"
	case "client_max_window_bits":
		return clientMaxWindowBits, !has || windowBits(value)
	}
	return unknownParameter, false
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
