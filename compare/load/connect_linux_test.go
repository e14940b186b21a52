package load

import (
	"maps"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// each protocol's connect command against s, channels named so that the stub
// knows how to publish.
func connects(s *stub) map[string]Command {
	return map[string]Command{
		Centrifuge: {Cmd: Connect, Target: s.addr(), Protocol: Centrifuge, Channel: "c-bench"},
		Raw:        {Cmd: Connect, Target: "ws://" + s.addr(), Protocol: Raw, Channel: "raw-bench"},
		Floor:      {Cmd: Connect, Target: s.addr(), Protocol: Floor, Channel: "bench"},
	}
}

func TestEveryProtocol(t *testing.T) {
	for _, name := range []string{Centrifuge, Raw, Floor} {
		t.Run(name, func(t *testing.T) {
			s, c := newStub(t), start(t)
			connect := connects(s)[name]
			connect.N = 50
			a := do(t, c, connect)
			if a.Subscribed != 50 || a.Connected != 50 || a.Connecting != 0 || a.FailedTotal() != 0 {
				t.Fatalf("%+v", a)
			}
			if h, err := a.ConnectTime.Decode(); err != nil || h.TotalCount() != 50 {
				t.Errorf("connect times: %v, %v", h.TotalCount(), err)
			}
			do(t, c, Command{Cmd: Mark, Next: 1})
			for i := range uint32(20) {
				s.publish(connect.Channel, body(i+1, 0, 128))
			}
			a = do(t, c, Command{Cmd: Settle, Last: 20})
			if a.Total.Delivered != 1000 || !a.Total.Clean() || a.Total.Unknown != 0 {
				t.Errorf("%+v", a.Total)
			}
			if h, err := a.Latency.Decode(); err != nil || h.TotalCount() != 1000 {
				t.Errorf("latencies: %v, %v", h.TotalCount(), err)
			}
			for _, sub := range s.subscribers(connect.Channel) {
				sub.write(serverFrame(finBit|opPing, "hello"))
			}
			until(t, c, "50 pings", func(a Answer) bool { return a.Total.Pings == 50 })
			waitFor(t, "50 pongs", func() bool { return s.get(func(s *stub) int { return s.pongs }) == 50 })
			if n := s.get(func(s *stub) int { return len(s.froms) }); n != defaultSources {
				t.Errorf("connections came from %d addresses, want %d", n, defaultSources)
			}
			a = do(t, c, Command{Cmd: Disconnect, N: 20})
			if a.Subscribed != 30 || a.Connected != 30 || a.Closed["local"] != 20 {
				t.Errorf("after disconnect: %+v", a)
			}
			a = do(t, c, Command{Cmd: Disconnect, N: 10, How: Reset})
			if a.Subscribed != 20 || a.Closed["local"] != 30 {
				t.Errorf("after reset: %+v", a)
			}
		})
	}
}

func TestStreamsOverHTTP(t *testing.T) {
	for name, keepAlive := range map[string]string{SSE: ":\n\n", Stream: "\n"} {
		t.Run(name, func(t *testing.T) {
			s, c := newStub(t), start(t)
			channel := name + "-bench"
			a := do(t, c, Command{Cmd: Connect, N: 50, Target: s.addr(), Protocol: name, Channel: channel})
			if a.Subscribed != 50 || a.FailedTotal() != 0 {
				t.Fatalf("%+v", a)
			}
			do(t, c, Command{Cmd: Mark, Next: 1})
			for i := range uint32(20) {
				if i == 10 {
					for _, sub := range s.subscribers(channel) {
						sub.write(keepAlive)
					}
				}
				s.publish(channel, body(i+1, 0, 128))
			}
			a = do(t, c, Command{Cmd: Settle, Last: 20})
			if a.Total.Delivered != 1000 || !a.Total.Clean() || a.Total.Unknown != 0 {
				t.Errorf("%+v", a.Total)
			}
			a = do(t, c, Command{Cmd: Disconnect, N: 20})
			if a.Subscribed != 30 || a.Closed["local"] != 20 {
				t.Errorf("after disconnect: %+v", a)
			}
		})
	}
}

func TestChannelEach(t *testing.T) {
	s, c := newStub(t), start(t)
	do(t, c, Command{Cmd: Connect, N: 10, Target: s.addr(), Channel: "c-%d-x", First: 100})
	do(t, c, Command{Cmd: Mark, Next: 1})
	s.publish("c-103-x", body(1, 103, 200))
	s.publish("c-104-x", body(1, 105, 200)) // another channel's number
	s.publish("c-109-x", body(2, 109, 200)) // the first is lost
	a := until(t, c, "three messages", func(a Answer) bool { return a.Total.Delivered == 3 })
	if a.Total.Misrouted != 1 || a.Total.Lost != 1 {
		t.Errorf("%+v", a.Total)
	}
	last := make([]uint32, 110)
	last[103], last[109], last[100] = 1, 2, 3 // 100 received none
	a = do(t, c, Command{Cmd: Settle, LastEach: last, TimeoutMS: 50})
	if a.Total.Lost != 4 {
		t.Errorf("lost %d, want 4", a.Total.Lost)
	}
}

func TestBytesArriveOneByOne(t *testing.T) {
	s, c := newStub(t), start(t)
	do(t, c, Command{Cmd: Connect, N: 1, Target: s.addr(), Channel: "c-x"})
	do(t, c, Command{Cmd: Mark, Next: 1})
	stream := text(push("c-x", body(1, 0, 400))) + text("{}") + text(push("c-x", body(2, 0, 128))+"\n"+push("c-x", body(3, 0, 128)))
	sub := s.subscribers("c-x")[0]
	for i := range len(stream) {
		sub.write(stream[i : i+1])
	}
	a := do(t, c, Command{Cmd: Settle, Last: 3})
	if a.Total.Delivered != 3 || !a.Total.Clean() || a.Total.Pings != 1 {
		t.Errorf("%+v", a.Total)
	}
}

func TestFailures(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		prepare func(*stub)
		command Command
		want    string
	}{
		{"nobody listens", func(*stub) {}, Command{Target: closed.Addr().String()}, "connect: ECONNREFUSED"},
		{"503", func(s *stub) { s.refuseUpgrade = "HTTP/1.1 503 Service Unavailable\r\n\r\n" }, Command{}, "upgrade: status 503"},
		{"no 101", func(s *stub) { s.refuseUpgrade = "bye" }, Command{}, "upgrade: eof"},
		{"subscription refused", func(s *stub) {
			s.refuseSubscribe = `{"id":2,"error":{"code":103,"message":"permission denied"}}`
		}, Command{}, "subscribe: error 103"},
		{"silence", func(s *stub) { s.silent = true }, Command{TimeoutMS: 50}, "upgrade: timeout"},
	}
	for _, f := range tests {
		t.Run(f.name, func(t *testing.T) {
			s, c := newStub(t, f.prepare), start(t)
			connect := f.command
			connect.Cmd, connect.N = Connect, 5
			if connect.Target == "" {
				connect.Target = s.addr()
			}
			a := do(t, c, connect)
			if want := map[string]uint64{f.want: 5}; !maps.Equal(a.Failed, want) {
				t.Errorf("failed %v, want %v", a.Failed, want)
			}
			if a.Connecting != 0 || a.Connected != 0 || a.Subscribed != 0 || len(a.Closed) != 0 {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestCloseCodes(t *testing.T) {
	s, c := newStub(t), start(t)
	do(t, c, Command{Cmd: Connect, N: 5, Target: s.addr(), Channel: "c-x"})
	subs := s.subscribers("c-x")
	subs[0].write(closeFrame(3008))
	subs[1].write(closeFrame(3001))
	subs[2].write("\xff\xff")
	_ = subs[3].Close()
	_ = subs[4].Conn.(*net.TCPConn).SetLinger(0)
	_ = subs[4].Close()
	a := until(t, c, "no connection", func(a Answer) bool { return a.Connected == 0 })
	want := map[string]uint64{"3008": 1, "3001": 1, "violation: reserved bits set": 1, "eof": 1, "reset": 1}
	if !maps.Equal(a.Closed, want) {
		t.Errorf("closed %v, want %v", a.Closed, want)
	}
	if a.Subscribed != 0 || len(a.Failed) != 0 {
		t.Errorf("%+v", a)
	}
}

func TestSegment(t *testing.T) {
	s, c := newStub(t), start(t)
	do(t, c, Command{Cmd: Connect, N: 1, Target: s.addr(), Channel: "c-x", Segment: 1460})
	do(t, c, Command{Cmd: Connect, N: 1, Target: s.addr(), Channel: "c-y"})
	for channel, small := range map[string]bool{"c-x": true, "c-y": false} {
		raw, err := s.subscribers(channel)[0].Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Control(func(fd uintptr) {
			size, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG)
			if err != nil || (size <= 1460) != small {
				t.Errorf("%s: segments of %d bytes, %v", channel, size, err)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestChurn(t *testing.T) {
	s, c := newStub(t), start(t)
	do(t, c, Command{Cmd: Connect, N: 10, Target: s.addr(), Channel: "c-%d"})
	do(t, c, Command{Cmd: Churn, Rate: 500, How: Drop})
	until(t, c, "50 replaced", func(a Answer) bool { return a.Total.Churned >= 50 })
	do(t, c, Command{Cmd: Churn})
	a := until(t, c, "10 subscribed again", func(a Answer) bool { return a.Subscribed == 10 && a.Connecting == 0 })
	if a.Connected != 10 || a.Closed["local"] != uint64(a.Total.Churned) || len(a.Failed) != 0 {
		t.Errorf("%+v", a)
	}
	waitFor(t, "each channel having one subscriber", func() bool {
		for i := range 10 {
			if len(s.subscribers("c-"+string(rune('0'+i)))) != 1 {
				return false
			}
		}
		return true
	})
}

func TestPacedConnect(t *testing.T) {
	s, c := newStub(t), start(t)
	began := time.Now()
	a := do(t, c, Command{Cmd: Connect, N: 50, Rate: 500, Target: s.addr()})
	if took := time.Since(began); took < 98*time.Millisecond {
		t.Errorf("the last of 50 at 500 a second is due after 98 ms, all were there after %v", took)
	}
	if a.Subscribed != 50 {
		t.Errorf("%+v", a)
	}
}
