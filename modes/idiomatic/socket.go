package idiomatic

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// socket is an accepted TCP connection. Once upgraded it watches the frames that
// its reader is about to read: gorilla answers violations by itself, ahead of
// what is queued, and does not tell a close body of one byte from an empty one.
// Everything but Read may be called concurrently.
type socket struct {
	*net.TCPConn
	admitted *admission.Plain
	secure   *tls.Conn // over it; nil: nothing is encrypted
	stats    *modes.Stats
	timeout  time.Duration // for one message, from its first byte to its last; 0: none
	served   atomic.Bool   // a request has come in full
	preface  handshake.Preface
	came     modes.Instant // when the latest has; for who answers it
	deaf     atomic.Bool   // it is the last: nothing behind it is looked at
	// extension goes into the response in place of what gorilla accepts offers with;
	// empty: nothing does.
	extension string
	// patience is how many nanoseconds the client of an upgraded connection, or a stream, may
	// take nothing while something is being written; 0: it is neither.
	patience atomic.Int64
	// gone is why the client of a stream over HTTP cannot be read from any more.
	gone atomic.Pointer[error]

	// Only the reader uses what follows.
	upgraded bool
	early    []byte // what the client sent right behind its handshake
	frames   frames
	deadline uint64 // the message that the read deadline is for; 0: there is none
	err      error  // why nothing more can be read
}

// Read implements net.Conn. Errors of the frames are *violation and *closeFrame.
func (s *socket) Read(p []byte) (int, error) {
	if !s.upgraded {
		return s.readRequest(p)
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.fill(p)
	s.stats.BytesIn.Add(uint64(n))
	good, bad := s.frames.scan(p[:n])
	switch {
	case bad != nil:
		err = bad
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errIncomplete
	case err == nil:
		err = s.setDeadline()
	}
	s.err = err
	if good > 0 {
		return good, nil
	}
	return 0, err
}

// readRequest reads what is for net/http, which says nothing, or the wrong thing,
// to a client that takes too long to send its first request.
func (s *socket) readRequest(p []byte) (int, error) {
	n, err := s.receive(p)
	if s.secure != nil && err != nil && !s.secure.ConnectionState().HandshakeComplete {
		s.handshakeFailed(err)
		return n, err
	}
	if s.deaf.Load() {
		return s.ignore(n, err)
	}
	switch {
	case s.served.Load():
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.refuse(handshake.RefusedTimeout)
	case s.preface.Foreign(p[:n]):
		s.refuse(handshake.RefusedNotHTTP)
		return 0, io.EOF
	}
	return n, err
}

// refuse ends a connection that has sent no request. What it still sends is read for
// a moment: a reset would overtake the answer.
func (s *socket) refuse(refusal *admission.Refusal) {
	s.stats.Refuse(refusal)
	s.admitted.TurnAway()
	// The client may be gone.
	_ = s.SetDeadline(time.Now().Add(lingerTime))
	_, _ = s.Write(handshake.Response(refusal, ""))
	_ = s.CloseWrite()
	var buffer [512]byte
	for range handshake.MaxDiscardedReads {
		if _, err := s.TCPConn.Read(buffer[:]); err != nil {
			break
		}
	}
	_ = s.Close()
}

// lingerTime is how long a refused client may still send.
const lingerTime = 500 * time.Millisecond

func (s *socket) fill(p []byte) (int, error) {
	if len(s.early) > 0 {
		n := copy(p, s.early)
		s.early = s.early[n:]
		return n, nil
	}
	return s.receive(p)
}

// errIncomplete says that a message took too long to arrive. The client may come
// back: its link, not its conduct, may be what is bad.
var errIncomplete = &violation{wire.DisconnectSlow}

// setDeadline bounds the time that the message which has begun may take. It
// costs nothing where messages arrive whole.
func (s *socket) setDeadline() error {
	if s.timeout <= 0 {
		return nil
	}
	message := s.frames.unfinished()
	if message == s.deadline {
		return nil
	}
	s.deadline = message
	if message == 0 {
		return s.SetReadDeadline(time.Time{})
	}
	return s.SetReadDeadline(time.Now().Add(s.timeout))
}

// renewDeadline has the time begin anew that the message which has begun may take.
func (s *socket) renewDeadline() {
	if s.deadline != 0 && s.err == nil {
		// A closed socket needs no deadline.
		_ = s.SetReadDeadline(time.Now().Add(s.timeout))
	}
}

// discard reads until the peer closes or the socket is closed.
func (s *socket) discard() {
	if s.SetReadDeadline(time.Time{}) != nil {
		return
	}
	var buffer [512]byte
	for {
		if _, err := s.TCPConn.Read(buffer[:]); err != nil {
			return
		}
	}
}

// Admitted implements handshake.Conn.
func (s *socket) Admitted() *admission.Plain { return s.admitted }

// reset closes the socket without waiting for what the peer has not taken.
func (s *socket) reset() {
	// The socket is closed whatever these say.
	_ = s.SetLinger(0)
	_ = s.TCPConn.Close()
	s.admitted.Close()
}

// hijacker gives gorilla the socket, and the socket what net/http has read
// beyond the handshake, which gorilla would take for a violation.
type hijacker struct {
	http.ResponseWriter
	extension string // accepts the offered extension
}

// Hijack implements http.Hijacker.
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	s := socketUnder(conn)
	if n := rw.Reader.Buffered(); n > 0 {
		// Peeking and discarding what is buffered cannot fail.
		early, _ := rw.Peek(n)
		s.early = bytes.Clone(early)
		_, _ = rw.Discard(n)
	}
	s.upgraded = true
	if h.extension != wire.DeflateResponse {
		s.extension = h.extension
	}
	return socketConn{s}, rw, nil
}
