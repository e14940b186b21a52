//go:build linux

package optimized

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// plainListener is the net.Listener from which net/http takes the connections
// that the loops hand over.
type plainListener struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPlainListener(address net.Addr) *plainListener {
	return &plainListener{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *plainListener) Addr() net.Addr { return p.address }

func (p *plainListener) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *plainListener) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// offer gives conn to net/http, or closes it if that has ended.
func (p *plainListener) offer(conn net.Conn) {
	select {
	case p.conns <- conn:
	case <-p.closed:
		_ = conn.Close()
	}
}

// plainConn is a connection of which some bytes were read before.
type plainConn struct {
	*net.TCPConn
	admitted *admission.Plain
	read     []byte
}

var _ handshake.Conn = (*plainConn)(nil)

// Admitted implements handshake.Conn.
func (c *plainConn) Admitted() *admission.Plain { return c.admitted }

// Close implements net.Conn.
func (c *plainConn) Close() error {
	defer c.admitted.Close()
	return c.TCPConn.Close()
}

func (c *plainConn) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.TCPConn.Read(p)
}

// secureConn is plainConn over TLS.
type secureConn struct {
	*tls.Conn
	secure   *secure
	admitted *admission.Plain
	read     []byte
}

var _ handshake.Conn = (*secureConn)(nil)

// Admitted implements handshake.Conn.
func (c *secureConn) Admitted() *admission.Plain { return c.admitted }

// Close implements net.Conn.
func (c *secureConn) Close() error {
	defer c.admitted.Close()
	return c.Conn.Close()
}

func (c *secureConn) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// handOver gives a connection whose request is not for the loops to net/http,
// together with what was read of it.
func (l *loop) handOver(index uint32, r *record, received []byte) {
	e, fd, received := l.engine, int(r.fd), bytes.Clone(received)
	// The socket lives on under another descriptor: closing this one would not
	// take it out of the epoll instance.
	if err := l.poller.Remove(fd); err != nil {
		l.markFailed(index, r, modes.ReasonGone)
		return
	}
	s := l.secureOf(index)
	if s != nil {
		s.pipe.in = bytes.Clone(s.pipe.in)
		l.setSecure(index, nil)
	}
	as := l.sockets.take(index)
	l.detach(index, r)
	l.slab.put(index)
	err := e.pool.Schedule(func(err error) {
		if err != nil {
			_ = unix.Close(fd)
			e.Admission.Close(as.socket)
			return
		}
		conn, err := e.plainConnOf(fd, received, s, as)
		if err != nil {
			e.Log.Debug("hand over to net/http failed", "error", err)
			e.Admission.Close(as.socket)
			return
		}
		e.plain.offer(conn)
	})
	if err != nil {
		e.Stats.Refuse(handshake.RefusedBusy)
		response := handshake.Response(handshake.RefusedBusy, "")
		if s != nil {
			_, _ = s.conn.Write(response)
			_ = s.conn.CloseWrite()
			response, l.security.sealed = l.security.sealed, l.security.sealed[:0]
		}
		// All that can be done for it; it is closed either way.
		_, _ = unix.Write(fd, response)
		_ = unix.Close(fd)
		e.Admission.Close(as.socket)
	}
}

// plainConnOf makes fd a net.Conn, over s unless that is nil. It closes fd on error.
func (e *Engine) plainConnOf(fd int, received []byte, s *secure, as counted) (net.Conn, error) {
	tcp, err := e.netConn(fd)
	if err != nil {
		return nil, fmt.Errorf("optimized: make a net.Conn: %w", err)
	}
	var admitted *admission.Plain
	admitted = e.Admission.Plain(as.socket, as.refusal, func() {
		// It is of no use any more.
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
		admitted.Close()
	})
	if s != nil {
		s.pipe.tcp, s.pipe.loop = tcp, nil
		return &secureConn{s.conn, s, admitted, received}, nil
	}
	return &plainConn{tcp, admitted, received}, nil
}

// netConn makes fd, which it closes, a net.Conn. That needs a second descriptor for a
// moment, and so does takeBack: duplicating sees that they are not many at a time.
func (e *Engine) netConn(fd int) (*net.TCPConn, error) {
	e.duplicating.Lock()
	defer e.duplicating.Unlock()
	file := os.NewFile(uintptr(fd), "tcp")
	conn, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// plainHandler answers requests that were handed over. A good one for an endpoint of
// the loops goes back to a loop: it was not in the plainest form, or it was a later
// request of a connection that had begun with another, as a proxy that reuses its
// connections sends it.
func (e *Engine) plainHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		p, ok := handshake.Endpoint(request.URL.Path, e.Echo)
		if !ok {
			e.Handler.ServeHTTP(w, request)
			return
		}
		switch {
		case p.OverHTTP() && request.Method != http.MethodGet:
			handshake.StreamOnly(e.Admission, e.Stats, w, request)
			return
		case p.OverHTTP():
			if refusal := handshake.CheckStream(request); refusal != nil {
				handshake.RefuseStream(e.Admission, e.Stats, w, request, refusal)
				return
			}
		default:
			if refusal := handshake.Check(request); refusal != nil {
				handshake.Answer(w, request, e.Stats, refusal)
				return
			}
		}
		if err := e.takeBack(w, request, p); err != nil {
			e.Log.Debug("take a connection back from net/http failed", "error", err)
			http.Error(w, "upgrade failed", http.StatusInternalServerError)
		}
	})
}

// handedBack is a connection that net/http had, and whose request is for a loop.
type handedBack struct {
	request  *http.Request
	protocol wire.Protocol
	ahead    []byte  // what was read behind the request
	secure   *secure // its TLS; nil: it has none
}

// takeBack makes the connection of a request one of a loop's.
func (e *Engine) takeBack(w http.ResponseWriter, request *http.Request, p wire.Protocol) error {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("optimized: hijack: %w", err)
	}
	var tcp *net.TCPConn
	var s *secure
	var unread []byte
	switch c := conn.(type) {
	case *plainConn:
		tcp, unread = c.TCPConn, c.read
	case *secureConn:
		tcp, s, unread = c.secure.pipe.tcp, c.secure, c.read
		s.pipe.tcp = nil
	}
	buffer, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	ahead := append(bytes.Clone(buffer), unread...)

	as, ok := conn.(handshake.Conn).Admitted().Release()
	fd := e.duplicate(tcp)
	if !ok || fd < 0 {
		if ok {
			e.Admission.Close(as)
		}
		return nil
	}
	l := e.loops[fd%len(e.loops)]
	if !l.inbox.post(func() { l.adopt(fd, counted{socket: as}, &handedBack{request, p, ahead, s}) }) {
		_ = unix.Close(fd)
		e.Admission.Close(as)
	}
	return nil
}

// duplicate returns a descriptor of its own for a connection, which it closes; -1 if
// there is none.
func (e *Engine) duplicate(tcp *net.TCPConn) int {
	e.duplicating.Lock()
	defer e.duplicating.Unlock()
	defer func() { _ = tcp.Close() }()
	fd := -1
	raw, err := tcp.SyscallConn()
	if err != nil {
		return fd
	}
	err = raw.Control(func(original uintptr) {
		if duplicate, err := unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			fd = duplicate
		}
	})
	if err != nil {
		return -1
	}
	return fd
}
