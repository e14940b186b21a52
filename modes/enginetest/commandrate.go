package enginetest

import (
	"strconv"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// A client that sends too many commands gets an error, and is disconnected if it continues.
func testCommandRate(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.CommandRate, s.Rules.MaxChannels = 1, 20 })
	polite, flood := n.Session(t), n.Session(t)
	for i := range 19 {
		polite.Subscribe(strconv.Itoa(i))
	}
	var commands []kit.Frame
	for i := range 100 {
		commands = append(commands, flood.Encode(&protocol.Command{Id: uint32(i + 2), Ping: &protocol.PingRequest{}}))
	}
	flood.Send(commands...)
	answered, refused := 0, 0
	for _, message := range flood.ExpectCloseLater(int(wire.DisconnectTooManyRequests.Code)) {
		replies, err := kit.Decode(flood.Protocol, message)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range replies {
			switch {
			case r.Ping != nil && refused == 0:
				answered++
			case r.GetError().GetCode() == 111 && r.Error.Temporary:
				refused++
			case r.Ping == nil:
				t.Fatalf("got %s", kit.Show(r))
			}
		}
	}
	// The second may have turned meanwhile.
	if answered < 20 || answered > 30 || refused < 15 {
		t.Errorf("%d commands were answered and %d refused", answered, refused)
	}
	kit.AwaitCount(t, n.Stats.Refusals, wire.ErrorTooManyRequests.Message, refused)
	n.AwaitDisconnects(t, wire.DisconnectTooManyRequests.Reason, 1)
	n.Bus.Send("0", "1")
	polite.ExpectPush("0", "1")
}
