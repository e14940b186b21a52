package enginetest

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
)

var socketCases = []suiteCase{
	{"sockets/of all, whatever they speak", testSocketsOfAll},
	{"sockets/of an address, whatever they speak", testSocketsOfAddress},
	{"sockets/of a proxy", testSocketsOfProxy},
	{"sockets/idle ones make room", testIdleMakeRoom},
	{"sockets/refused ones make room", testRefusedMakeRoom},
	{"sockets/too many to be told", testTooManyToBeTold},
}

// holding is what clients may do with a connection that is no WebSocket.
func holding() map[string][]byte {
	return map[string][]byte{
		"nothing":            nil,
		"half a request":     []byte("GET /plain HTTP/1.1\r\nHost: a\r\n"),
		"half a handshake":   upgrade(modes.PathEcho).bytes()[:60],
		"a body that is due": request{method: "POST", target: "/plain", version: "HTTP/1.1", headers: []string{"Host: a", "Content-Length: 5"}}.bytes(),
	}
}

// awaitSockets waits until the node counts so many open sockets.
func (n *node) awaitSockets(t tester, want int64) {
	t.Helper()
	await(t, "the open sockets to be counted", func() (bool, string) {
		open := n.admission.Sockets()
		return open == want, time.Now().String()
	})
}

// hold opens connections that hold on to what they have.
func (n *node) hold(t tester, sent []byte, many int) (held []*client) {
	t.Helper()
	for range many {
		c := n.dial(t)
		if len(sent) > 0 {
			// It may be over a limit.
			_ = c.tryWrite(sent)
		}
		held = append(held, c)
	}
	return held
}

// remaining returns those that the server has not ended.
func remaining(t tester, held []*client) (open int) {
	t.Helper()
	for _, c := range held {
		if err := c.tcp.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatalf("set the deadline: %v", err)
		}
		var buffer [4096]byte
		for {
			_, err := c.tcp.Read(buffer[:])
			if err == nil {
				continue
			}
			if !ended(err) {
				open++
			}
			break
		}
	}
	return open
}

// Every open socket counts, whatever it speaks and however far it is.
func testSocketsOfAll(t *testing.T, build Build) {
	for name, sent := range holding() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, build, func(s *setup) { s.admission.MaxConnections = 5 })
			in := n.open(t, modes.PathEcho)
			held := n.hold(t, sent, 40)
			await(t, "all but the first four to be ended", func() (bool, string) {
				return remaining(t, held) == 4, ""
			})
			n.awaitSockets(t, 5)
			c := n.dial(t)
			c.write(upgrade(modes.PathEcho).bytes())
			c.expectRefusal(http.StatusServiceUnavailable)
			in.send(text("still in"))
			in.expect(text("still in"))
			for _, c := range held {
				c.leave()
			}
			n.awaitSockets(t, 1)
			n.open(t, modes.PathEcho)
		})
	}
}

func testSocketsOfAddress(t *testing.T, build Build) {
	for name, sent := range holding() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, build, func(s *setup) {
				s.admission.MaxConnections, s.admission.ConnectionsPerAddress = 50, 3
			})
			held := n.hold(t, sent, 100)
			await(t, "all but the first three to be ended", func() (bool, string) {
				return remaining(t, held) == 3, ""
			})
			for _, r := range []request{upgrade(modes.PathEcho), plain("GET", ""), get(modes.PathSSE + "?channel=a"), plain("POST", "body")} {
				c := n.dial(t)
				c.write(r.bytes())
				c.expectRefusal(http.StatusTooManyRequests)
			}
			n.awaitSockets(t, 3)
			for _, c := range held {
				c.leave()
			}
			n.awaitSockets(t, 0)
			n.open(t, modes.PathEcho)
		})
	}
}

// The sockets of a trusted proxy are those of its clients.
func testSocketsOfProxy(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.admission.MaxConnections, s.admission.ConnectionsPerAddress = 8, 2
		s.admission.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	held := n.hold(t, []byte("GET /plain HTTP/1.1\r\n"), 4)
	for range 2 {
		n.dial(t).enter("X-Forwarded-For: 192.0.2.1")
	}
	n.dial(t).expectAddressFull("X-Forwarded-For: 192.0.2.1")
	n.dial(t).enter("X-Forwarded-For: 192.0.2.2")
	n.dial(t).enter("X-Forwarded-For: 192.0.2.3")
	n.awaitSockets(t, 8)
	c := n.dial(t)
	c.write(upgrade(modes.PathEcho, "X-Forwarded-For: 192.0.2.4").bytes())
	c.expectRefusal(http.StatusServiceUnavailable)
	if open := remaining(t, held); open != 4 {
		t.Errorf("%d of the proxy's own 4 sockets are open", open)
	}
}

// A connection that only waits for its next request is given up for another.
func testIdleMakeRoom(t *testing.T, build Build) {
	for name, limit := range map[string]func(*setup){
		"of all":        func(s *setup) { s.admission.MaxConnections = 3 },
		"of an address": func(s *setup) { s.admission.ConnectionsPerAddress = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, build, limit)
			var idle []*client
			for range 10 {
				c := n.dial(t)
				c.write(plain("GET", "").bytes())
				c.expectPlain("GET", "", "")
				idle = append(idle, c)
			}
			for range 3 {
				c := n.open(t, modes.PathEcho)
				c.send(text("in"))
				c.expect(text("in"))
			}
			await(t, "no plain connection left", func() (bool, string) { return remaining(t, idle) == 0, "" })
			// Those who are in are not given up.
			c := n.dial(t)
			c.write(upgrade(modes.PathEcho).bytes())
			if r, _ := c.response(); r.StatusCode != http.StatusServiceUnavailable && r.StatusCode != http.StatusTooManyRequests {
				t.Errorf("a fourth is answered %s", r.Status)
			}
		})
	}
}

// A client that has been refused takes nobody's place, though it stays.
func testRefusedMakeRoom(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.admission.MaxConnections = 1 })
	for _, r := range []struct {
		request request
		status  int
	}{
		{upgrade(modes.PathEcho, "Origin: http://evil.test"), http.StatusForbidden},
		{upgrade(modes.PathRaw), http.StatusBadRequest},
		{upgrade(modes.PathEcho).with("Upgrade"), http.StatusUpgradeRequired},
		{get(modes.PathSSE), http.StatusBadRequest},
		{request{"POST", modes.PathStream, "HTTP/1.1", []string{"Host: tandem.test"}, ""}, http.StatusMethodNotAllowed},
	} {
		for range 2 {
			c := n.dial(t)
			c.write(r.request.bytes())
			c.expectRefusal(r.status)
		}
	}
	n.open(t, modes.PathEcho)
}

// There is room for so many that are told that they are too many; others are closed.
func testTooManyToBeTold(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.admission.MaxConnections, s.admission.MaxRefused = 1, 2 })
	n.open(t, modes.PathEcho)
	held := n.hold(t, nil, 20)
	await(t, "all to be ended", func() (bool, string) { return remaining(t, held) == 0, "" })
	await(t, "refusals to be counted", func() (bool, string) {
		return count(t, n.stats.Refused, admission.RefusedFull.Reason) >= 18, ""
	})
	c := n.dial(t)
	c.write(upgrade(modes.PathEcho).bytes())
	c.expectRefusal(http.StatusServiceUnavailable)
}
