package enginetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/handshake"
)

// tlsCases are about TLS itself.
var tlsCases = []suiteCase{
	{"tls/byte by byte", testTLSChopped},
	{"tls/all in one segment", testTLSOneSegment},
	{"tls/versions and ALPN", testTLSVersions},
	{"tls/resumption", testTLSResumption},
	{"tls/close_notify from the server", testTLSCloseNotify},
	{"tls/plain HTTP", testTLSPlainHTTP},
	{"tls/no TLS", testTLSGarbage},
	{"tls/broken record", testTLSBroken},
	{"tls/half a handshake", testTLSHalf},
	{"tls/ends in the handshake", testTLSDrain},
}

// dialTLS connects with a configuration of the case's own. wrap, which may be nil,
// puts something between TLS and TCP.
func dialTLS(n *kit.Node, t kit.Tester, config *tls.Config, wrap func(net.Conn) net.Conn) *kit.Client {
	t.Helper()
	c := n.Dial(t)
	var under net.Conn = c.TCP
	if wrap != nil {
		under = wrap(under)
	}
	c.Conn = kit.SecureConn{Conn: tls.Client(under, config), TCP: c.TCP}
	c.In = bufio.NewReader(c.Conn)
	return c
}

// unencrypted connects and speaks no TLS.
func unencrypted(n *kit.Node, t kit.Tester) *kit.Client {
	t.Helper()
	c := n.Dial(t)
	c.Conn, c.In = c.TCP, bufio.NewReader(c.TCP)
	return c
}

// choppedConn sends every byte on its own.
type choppedConn struct{ net.Conn }

func (c choppedConn) Write(b []byte) (int, error) {
	for i := range b {
		if n, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i + n, err
		}
	}
	return len(b), nil
}

func testTLSChopped(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := kit.ClientTLS()
		config.MaxVersion = version
		c := dialTLS(n, t, config, func(conn net.Conn) net.Conn { return choppedConn{conn} })
		c.Handshake(modes.PathEcho)
		body := pattern(3_000)
		c.Send(kit.Frame{Op: ws.OpBinary, Body: body}, kit.Text("behind"))
		c.Expect(kit.Frame{Op: ws.OpBinary, Body: body})
		c.Expect(kit.Text("behind"))
		c.Send(kit.Closing(1000, ""))
		c.ExpectClose(1000)
	}
}

// gatheringConn keeps what is written until it is released.
type gatheringConn struct {
	net.Conn
	held *bytes.Buffer // nil: nothing is held
}

func (c *gatheringConn) Write(b []byte) (int, error) {
	if c.held != nil {
		return c.held.Write(b)
	}
	return c.Conn.Write(b)
}

// What follows the handshake in the same segment is not lost, and
// neither is what comes right before the end.
func testTLSOneSegment(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := kit.ClientTLS()
		config.MaxVersion = version
		var gathering *gatheringConn
		c := dialTLS(n, t, config, func(conn net.Conn) net.Conn {
			gathering = &gatheringConn{Conn: conn}
			return gathering
		})
		if version == tls.VersionTLS13 {
			// The client's last word in the handshake waits for what follows. With
			// TLS 1.2 it is the server that has it.
			gathering.Conn = &lateConn{Conn: c.TCP, from: 2}
		}
		if err := c.Conn.(kit.SecureConn).Handshake(); err != nil {
			t.Fatal(err)
		}
		if late, ok := gathering.Conn.(*lateConn); ok {
			gathering.Conn, gathering.held = c.TCP, &late.held
		} else {
			gathering.held = new(bytes.Buffer)
		}
		c.Write(kit.Upgrade(modes.PathEcho).Bytes())
		c.Send(kit.Text("one"))
		c.Send(kit.Text("two"))
		if err := c.Conn.(kit.SecureConn).Conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		// crypto/tls writes nothing after that, and has set a deadline.
		if err := c.TCP.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		all := gathering.held.Bytes()
		gathering.held = nil
		if _, err := c.TCP.Write(all); err != nil {
			t.Fatal(err)
		}
		c.ExpectUpgrade("")
		c.Expect(kit.Text("one"))
		c.Expect(kit.Text("two"))
		c.ExpectEnd()
	}
	n.AwaitDisconnects(t, modes.ReasonNoClose, 2)
}

// lateConn holds what is written from a certain write on.
type lateConn struct {
	net.Conn
	from, writes int
	held         bytes.Buffer
}

func (c *lateConn) Write(b []byte) (int, error) {
	if c.writes++; c.writes >= c.from {
		return c.held.Write(b)
	}
	return c.Conn.Write(b)
}

func testTLSVersions(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for version, good := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		config := kit.ClientTLS()
		config.MinVersion, config.MaxVersion = version, version
		config.NextProtos = []string{"h2", "http/1.1"}
		c := dialTLS(n, t, config, nil)
		conn := c.Conn.(kit.SecureConn)
		if err := conn.Handshake(); (err == nil) != good {
			t.Errorf("%s: error %v, want success %t", tls.VersionName(version), err, good)
		}
		if !good {
			continue
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
			t.Errorf("%s: protocol %q, want http/1.1", tls.VersionName(version), got)
		}
		c.Handshake(modes.PathEcho)
		c.RoundTripPing()
	}
	kit.AwaitCount(t, n.Stats.Refused, handshake.ReasonTLS, 2)
}

func testTLSResumption(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	config := kit.ClientTLS()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for again := range 3 {
		c := dialTLS(n, t, config, nil)
		c.Handshake(modes.PathEcho)
		c.RoundTripPing()
		if got := c.Conn.(kit.SecureConn).ConnectionState().DidResume; got != (again > 0) {
			t.Errorf("connection %d: resumed %t", again, got)
		}
		c.Leave()
	}
}

// typesConn notes the types of the records that come.
type typesConn struct {
	net.Conn
	left  int // of the record at hand
	head  []byte
	types []byte
}

func (c *typesConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		if c.left > 0 {
			m := min(c.left, len(rest))
			c.left -= m
			rest = rest[m:]
			continue
		}
		c.head, rest = append(c.head, rest[0]), rest[1:]
		if len(c.head) == handshake.RecordHeader {
			c.types = append(c.types, c.head[0])
			c.left = int(c.head[3])<<8 | int(c.head[4])
			c.head = nil
		}
	}
	return n, err
}

// The server ends its side of TLS before TCP, as RFC 8446 section 6.1 requires:
// else the end may be somebody else's doing.
func testTLSCloseNotify(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const alert = 21
	for name, end := range map[string]func(c *kit.Client){
		"close frame": func(c *kit.Client) {
			c.Handshake(modes.PathEcho)
			c.Send(kit.Closing(1000, ""))
			c.ExpectClose(1000)
		},
		"violation": func(c *kit.Client) {
			c.Handshake(modes.PathEcho)
			c.Send(kit.Frame{Op: 3})
			c.ExpectClose(1002)
		},
		"refusal": func(c *kit.Client) {
			r := kit.Upgrade(modes.PathEcho, "Origin: https://elsewhere.test")
			c.Write(r.Bytes())
			c.ExpectRefusal(http.StatusForbidden)
			_ = c.Conn.(kit.SecureConn).CloseWrite()
			c.ExpectEnd()
		},
		"plain request": func(c *kit.Client) {
			c.Write(kit.Plain("GET", "", "Connection: close").Bytes())
			c.ExpectPlain("GET", "", "")
			c.ExpectCleanEnd()
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Of TLS 1.3 the types are encrypted.
			config := kit.ClientTLS()
			config.MaxVersion = tls.VersionTLS12
			var types *typesConn
			c := dialTLS(n, t, config, func(conn net.Conn) net.Conn {
				types = &typesConn{Conn: conn}
				return types
			})
			end(c)
			if got := types.types; len(got) == 0 || got[len(got)-1] != alert {
				t.Errorf("the server's records had types %v, want %d last", got, alert)
			}
		})
	}
}

func testTLSPlainHTTP(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for _, chopped := range []bool{false, true} {
		c := unencrypted(n, t)
		c.Chopped = chopped
		// A client that is refused before it has sent everything may not be able to send
		// the rest.
		_ = c.TryWrite(kit.Upgrade(modes.PathEcho).Bytes())
		r, body := c.Response()
		if want := "Client sent an HTTP request to an HTTPS server."; r.StatusCode != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("chopped %t: got %s %q, want 400 %q", chopped, r.Status, body, want)
		}
	}
	kit.AwaitCount(t, n.Stats.Refused, handshake.ReasonTLS, 2)
}

func testTLSGarbage(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for name, bytes := range map[string]string{
		"zeros":              strings.Repeat("\x00", 100),
		"text":               "hello, is there anybody?\r\n",
		"SSLv2":              "\x80\x2e\x01\x00\x02" + strings.Repeat("\x00", 43),
		"huge record":        "\x16\x03\x01\xff\xff" + strings.Repeat("\x00", 100),
		"no hello":           "\x16\x03\x01\x00\x04\x14\x00\x00\x00",
		"broken hello":       "\x16\x03\x01\x00\x08\x01\x00\x00\x04\xff\xff\xff\xff",
		"application data":   "\x17\x03\x03\x00\x04data",
		"a version too high": "\x16\x10\x00\x00\x04\x01\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := unencrypted(n, t)
			c.Write([]byte(bytes))
			if err := c.TCP.SetReadDeadline(time.Now().Add(kit.Patience)); err != nil {
				t.Fatal(err)
			}
			// At most an alert, and the end.
			rest, err := io.ReadAll(c.In)
			if err != nil && !kit.Ended(err) || len(rest) > 7 {
				t.Errorf("got %d bytes, error %v, want at most an alert and the end", len(rest), err)
			}
			c.Leave()
		})
	}
	kit.AwaitCount(t, n.Stats.Refused, handshake.ReasonTLS, 8)
}

// A record that was changed on its way ends the connection.
func testTLSBroken(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	var gathering *gatheringConn
	c := dialTLS(n, t, kit.ClientTLS(), func(conn net.Conn) net.Conn {
		gathering = &gatheringConn{Conn: conn}
		return gathering
	})
	c.Handshake(modes.PathEcho)
	c.RoundTripPing()
	gathering.held = new(bytes.Buffer)
	c.Send(kit.Text("changed"))
	record := gathering.held.Bytes()
	record[len(record)-1] ^= 1
	if _, err := c.TCP.Write(record); err != nil {
		t.Fatal(err)
	}
	_, err := c.ReadByte()
	var alert *net.OpError
	if !kit.Ended(err) && !errors.As(err, &alert) {
		t.Errorf("got error %v, want an alert or the end", err)
	}
	n.Settle(t)
}

// Clients that stop in the middle of the handshake cost time of their own only.
func testTLSHalf(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.HandshakeTimeout = kit.ShortTimeout })
	const many = 100
	var stuck []*kit.Client
	for i := range many {
		c := dialTLS(n, t, kit.ClientTLS(), func(conn net.Conn) net.Conn { return &lateConn{Conn: conn, from: 2} })
		conn := c.Conn.(kit.SecureConn)
		if i%2 == 0 {
			// The server waits for the client's last word.
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
		} else {
			// The server waits for the rest of the first.
			c.Conn = c.TCP
			c.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
		}
		c.In = bufio.NewReader(c.TCP)
		stuck = append(stuck, c)
	}
	for range 10 {
		n.Session(t, "news").RoundTrip()
	}
	for _, c := range stuck {
		if err := c.TCP.SetReadDeadline(time.Now().Add(kit.Patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c.In); err != nil && !kit.Ended(err) {
			t.Fatalf("a client in half a handshake: %v", err)
		}
	}
	kit.Await(t, fmt.Sprintf("%d timeouts", many), func() (bool, string) {
		got := kit.Count(t, n.Stats.Refused, handshake.RefusedTimeout.Reason)
		return got == many, fmt.Sprint(got)
	})
}

// A node that drains does not wait for handshakes.
func testTLSDrain(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for range 5 {
		c := unencrypted(n, t)
		c.Write([]byte("\x16\x03\x01\x02\x00"))
	}
	c := n.Session(t, "news")
	wait := n.Drain(t.Context(), t, 0)
	c.ExpectClose(3001)
	if err := wait(); err != nil {
		t.Errorf("Drain: %v", err)
	}
}
