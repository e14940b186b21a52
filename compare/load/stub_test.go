package load

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// stub is a small server of all three protocols, with the behaviour that a test
// asks for. It is no Tandem: it proves the load generator, not a server.
type stub struct {
	t    *testing.T
	l    net.Listener
	gone sync.WaitGroup

	// refuse answers the upgrade or the subscription instead of the usual; set
	// before connections come.
	refuseUpgrade, refuseSubscribe string
	silent                         bool // reads the request and says nothing

	mu    sync.Mutex // guards what follows
	conns []*stubConn
	pongs int // of either layer
	froms map[string]bool
}

// stubConn is one connection of the stub.
type stubConn struct {
	net.Conn
	channel string
	writing sync.Mutex // held while one message is written
}

func newStub(t *testing.T, prepare ...func(*stub)) *stub {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{t: t, l: l, froms: map[string]bool{}}
	for _, p := range prepare {
		p(s)
	}
	s.gone.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.gone.Wait()
	})
	return s
}

func (s *stub) addr() string { return s.l.Addr().String() }

func (s *stub) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		sc := &stubConn{Conn: c}
		s.mu.Lock()
		s.conns = append(s.conns, sc)
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		s.froms[host] = true
		s.mu.Unlock()
		s.gone.Go(func() {
			s.serve(sc)
			_ = c.Close()
			s.mu.Lock()
			s.conns = slices.DeleteFunc(s.conns, func(o *stubConn) bool { return o == sc })
			s.mu.Unlock()
		})
	}
}

func (s *stub) serve(c *stubConn) {
	r := bufio.NewReader(c)
	request, err := http.ReadRequest(r)
	if err != nil || s.silent {
		_, _ = io.Copy(io.Discard, r)
		return
	}
	if request.URL.Path == "/sse" || request.URL.Path == "/stream" {
		c.join(request.URL.Query().Get("channel"))
		c.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
		_, _ = io.Copy(io.Discard, r)
		return
	}
	if !websocket.IsWebSocketUpgrade(request) || request.Header.Get("Sec-WebSocket-Version") != "13" {
		s.t.Errorf("no valid upgrade request: %+v", request)
	}
	if s.refuseUpgrade != "" {
		c.write(s.refuseUpgrade)
		return
	}
	if request.URL.Path == "/ws" {
		c.join(request.URL.Query().Get("channel"))
	}
	c.write(upgradeAnswer)
	for {
		opcode, b, ok := readClientFrame(s.t, r)
		switch {
		case !ok:
			return
		case opcode == opClose:
			c.write(closeFrame(1000))
			return
		case opcode == opPong || string(b) == "{}":
			s.mu.Lock()
			s.pongs++
			s.mu.Unlock()
		case request.URL.Path == "/":
			c.write(text(`{"op":"subscribed","channel":"bench"}  `))
			c.join("bench")
		default:
			s.commands(c, string(b))
		}
	}
}

// commands answers a frame of the Centrifuge protocol.
func (s *stub) commands(c *stubConn, b string) {
	for line := range strings.SplitSeq(b, "\n") {
		id, command, _ := strings.Cut(strings.TrimPrefix(line, `{"id":`), ",")
		if command == `"connect":{}}` {
			c.write(text(`{"id":` + id + `,"connect":{"client":"x","version":"stub","ping":25,"pong":true}}`))
		} else if channel, ok := strings.CutPrefix(command, `"subscribe":{"channel":"`); ok {
			if s.refuseSubscribe != "" {
				c.write(text(s.refuseSubscribe))
				continue
			}
			c.write(text(`{"id":` + id + `,"subscribe":{}}`))
			c.join(strings.TrimSuffix(channel, `"}}`))
		} else if publish, ok := strings.CutPrefix(command, `"publish":{"channel":"`); ok {
			channel, data, _ := strings.Cut(publish, `","data":`)
			c.write(text(`{"id":` + id + `,"publish":{}}`))
			s.publish(channel, strings.TrimSuffix(data, "}}"))
		} else {
			s.t.Errorf("command %q was not expected", line)
		}
	}
}

func (c *stubConn) join(channel string) {
	c.writing.Lock()
	c.channel = channel
	c.writing.Unlock()
}

func (c *stubConn) write(b string) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, _ = io.WriteString(c, b) // a load that is gone is the test's business
}

// publish sends data to the subscribers of a channel, in Centrifuge's manner if
// the channel's name does not begin with raw or is bench of a floor.
func (s *stub) publish(channel, data string) {
	frame := text(data)
	switch {
	case strings.HasPrefix(channel, "c-"):
		frame = text(push(channel, data))
	case strings.HasPrefix(channel, "sse-"):
		frame = "data: " + data + "\n\n"
	case strings.HasPrefix(channel, "stream-"):
		frame = data + "\n"
	}
	for _, c := range s.subscribers(channel) {
		c.write(frame)
	}
}

func (s *stub) subscribers(channel string) []*stubConn {
	s.mu.Lock()
	all := slices.Clone(s.conns)
	s.mu.Unlock()
	return slices.DeleteFunc(all, func(c *stubConn) bool {
		c.writing.Lock()
		defer c.writing.Unlock()
		return c.channel != channel
	})
}

func (s *stub) get(f func(*stub) int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f(s)
}

// readClientFrame reads a frame that a client sends, which must be masked.
func readClientFrame(t *testing.T, r *bufio.Reader) (opcode byte, b []byte, ok bool) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, false
	}
	if head[0]&finBit == 0 || head[0]&rsvBits != 0 || head[1]&maskBit == 0 {
		t.Errorf("client frame begins with % x", head)
		return 0, nil, false
	}
	n := int(head[1] &^ maskBit)
	if n > 125 {
		var long [8]byte
		width := 2
		if n == 127 {
			width = 8
		}
		if _, err := io.ReadFull(r, long[8-width:]); err != nil {
			return 0, nil, false
		}
		n = 0
		for _, x := range long {
			n = n<<8 | int(x)
		}
	}
	var key [4]byte
	if _, err := io.ReadFull(r, key[:]); err != nil {
		return 0, nil, false
	}
	b = make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, nil, false
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
	return head[0] & 0x0f, b, true
}
