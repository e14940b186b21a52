package enginetest

import (
	"strconv"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// A client that sends too many commands gets an error, and is disconnected if it continues.
func testCommandRate(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.rules.CommandRate, s.rules.MaxChannels = 1, 20 })
	polite, flood := n.session(t), n.session(t)
	for i := range 19 {
		polite.subscribe(strconv.Itoa(i))
	}
	var commands []frame
	for i := range 100 {
		commands = append(commands, flood.encode(&protocol.Command{Id: uint32(i + 2), Ping: &protocol.PingRequest{}}))
	}
	flood.send(commands...)
	answered, refused := 0, 0
	for _, message := range flood.expectCloseLater(int(wire.DisconnectTooManyRequests.Code)) {
		replies, err := decode(flood.protocol, message)
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
				t.Fatalf("got %s", show(r))
			}
		}
	}
	// The second may have turned meanwhile.
	if answered < 20 || answered > 30 || refused < 15 {
		t.Errorf("%d commands were answered and %d refused", answered, refused)
	}
	awaitCount(t, n.stats.Refusals, wire.ErrorTooManyRequests.Message, refused)
	n.awaitDisconnects(t, wire.DisconnectTooManyRequests.Reason, 1)
	n.bus.publish("0", "1")
	polite.expectPush("0", "1")
}
