package enginetest

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
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
		"half a handshake":   kit.Upgrade(modes.PathEcho).Bytes()[:60],
		"a body that is due": kit.Request{Method: "POST", Target: "/plain", Version: "HTTP/1.1", Headers: []string{"Host: a", "Content-Length: 5"}}.Bytes(),
	}
}

// hold opens connections that hold on to what they have.
func hold(n *kit.Node, t kit.Tester, sent []byte, many int) (held []*kit.Client) {
	t.Helper()
	for range many {
		c := n.Dial(t)
		if len(sent) > 0 {
			// It may be over a limit.
			_ = c.TryWrite(sent)
		}
		held = append(held, c)
	}
	return held
}

// remaining returns those that the server has not ended.
func remaining(t kit.Tester, held []*kit.Client) (open int) {
	t.Helper()
	for _, c := range held {
		if err := c.TCP.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatalf("set the deadline: %v", err)
		}
		var buffer [4096]byte
		for {
			_, err := c.TCP.Read(buffer[:])
			if err == nil {
				continue
			}
			if !kit.Ended(err) {
				open++
			}
			break
		}
	}
	return open
}

// Every open socket counts, whatever it speaks and however far it is.
func testSocketsOfAll(t *testing.T, build kit.Build) {
	for name, sent := range holding() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := kit.Start(t, build, func(s *kit.Setup) { s.Admission.MaxConnections = 5 })
			in := n.Open(t, modes.PathEcho)
			held := hold(n, t, sent, 40)
			kit.Await(t, "all but the first four to be ended", func() (bool, string) {
				return remaining(t, held) == 4, ""
			})
			n.AwaitSockets(t, 5)
			c := n.Dial(t)
			c.Write(kit.Upgrade(modes.PathEcho).Bytes())
			c.ExpectRefusal(http.StatusServiceUnavailable)
			in.Send(kit.Text("still in"))
			in.Expect(kit.Text("still in"))
			for _, c := range held {
				c.Leave()
			}
			n.AwaitSockets(t, 1)
			n.Open(t, modes.PathEcho)
		})
	}
}

func testSocketsOfAddress(t *testing.T, build kit.Build) {
	for name, sent := range holding() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := kit.Start(t, build, func(s *kit.Setup) {
				s.Admission.MaxConnections, s.Admission.ConnectionsPerAddress = 50, 3
			})
			held := hold(n, t, sent, 100)
			kit.Await(t, "all but the first three to be ended", func() (bool, string) {
				return remaining(t, held) == 3, ""
			})
			for _, r := range []kit.Request{kit.Upgrade(modes.PathEcho), kit.Plain("GET", ""), kit.Get(modes.PathSSE + "?channel=a"), kit.Plain("POST", "body")} {
				c := n.Dial(t)
				c.Write(r.Bytes())
				c.ExpectRefusal(http.StatusTooManyRequests)
			}
			n.AwaitSockets(t, 3)
			for _, c := range held {
				c.Leave()
			}
			n.AwaitSockets(t, 0)
			n.Open(t, modes.PathEcho)
		})
	}
}

// The sockets of a trusted proxy are those of its clients.
func testSocketsOfProxy(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Admission.MaxConnections, s.Admission.ConnectionsPerAddress = 8, 2
		s.Admission.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	held := hold(n, t, []byte("GET /plain HTTP/1.1\r\n"), 4)
	for range 2 {
		n.Dial(t).Enter("X-Forwarded-For: 192.0.2.1")
	}
	n.Dial(t).ExpectAddressFull("X-Forwarded-For: 192.0.2.1")
	n.Dial(t).Enter("X-Forwarded-For: 192.0.2.2")
	n.Dial(t).Enter("X-Forwarded-For: 192.0.2.3")
	n.AwaitSockets(t, 8)
	c := n.Dial(t)
	c.Write(kit.Upgrade(modes.PathEcho, "X-Forwarded-For: 192.0.2.4").Bytes())
	c.ExpectRefusal(http.StatusServiceUnavailable)
	if open := remaining(t, held); open != 4 {
		t.Errorf("%d of the proxy's own 4 sockets are open", open)
	}
}

// A connection that only waits for its next request is given up for another.
func testIdleMakeRoom(t *testing.T, build kit.Build) {
	for name, limit := range map[string]func(*kit.Setup){
		"of all":        func(s *kit.Setup) { s.Admission.MaxConnections = 3 },
		"of an address": func(s *kit.Setup) { s.Admission.ConnectionsPerAddress = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			n := kit.Start(t, build, limit)
			var idle []*kit.Client
			for range 10 {
				c := n.Dial(t)
				c.Write(kit.Plain("GET", "").Bytes())
				c.ExpectPlain("GET", "", "")
				idle = append(idle, c)
			}
			for range 3 {
				c := n.Open(t, modes.PathEcho)
				c.Send(kit.Text("in"))
				c.Expect(kit.Text("in"))
			}
			kit.Await(t, "no plain connection left", func() (bool, string) { return remaining(t, idle) == 0, "" })
			// Those who are in are not given up.
			c := n.Dial(t)
			c.Write(kit.Upgrade(modes.PathEcho).Bytes())
			if r, _ := c.Response(); r.StatusCode != http.StatusServiceUnavailable && r.StatusCode != http.StatusTooManyRequests {
				t.Errorf("a fourth is answered %s", r.Status)
			}
		})
	}
}

// A client that has been refused takes nobody's place, though it stays.
func testRefusedMakeRoom(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Admission.MaxConnections = 1 })
	for _, r := range []struct {
		request kit.Request
		status  int
	}{
		{kit.Upgrade(modes.PathEcho, "Origin: http://evil.test"), http.StatusForbidden},
		{kit.Upgrade(modes.PathRaw), http.StatusBadRequest},
		{kit.Upgrade(modes.PathEcho).With("Upgrade"), http.StatusUpgradeRequired},
		{kit.Get(modes.PathSSE), http.StatusBadRequest},
		{kit.Request{Method: "POST", Target: modes.PathStream, Version: "HTTP/1.1", Headers: []string{"Host: tandem.test"}, Body: ""}, http.StatusMethodNotAllowed},
	} {
		for range 2 {
			c := n.Dial(t)
			c.Write(r.request.Bytes())
			c.ExpectRefusal(r.status)
		}
	}
	n.Open(t, modes.PathEcho)
}

// There is room for so many that are told that they are too many; others are closed.
func testTooManyToBeTold(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Admission.MaxConnections, s.Admission.MaxRefused = 1, 2 })
	n.Open(t, modes.PathEcho)
	held := hold(n, t, nil, 20)
	kit.Await(t, "all to be ended", func() (bool, string) { return remaining(t, held) == 0, "" })
	kit.Await(t, "refusals to be counted", func() (bool, string) {
		return kit.Count(t, n.Stats.Refused, admission.RefusedFull.Reason) >= 18, ""
	})
	c := n.Dial(t)
	c.Write(kit.Upgrade(modes.PathEcho).Bytes())
	c.ExpectRefusal(http.StatusServiceUnavailable)
}
