package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// A connection that has its share on the way to Redis is refused more, until Redis
// has answered.
func TestPublishShare(t *testing.T) {
	for size, most := range map[int]int{1: publishShare, publishUnit: publishShare / 2, 64 << 10: 7, publishUnit * 1000: 1} {
		s := newStage(t, nil)
		s.says(`{"id":1,"connect":{}}`, welcomed)
		s.delayPublish = true
		message := []byte(`{"id":2,"publish":{"channel":"a","data":"` + strings.Repeat("x", size-len(`""`)+1) + `"}}`)
		for round := range 3 {
			for range publishShare + 10 {
				s.session.Handle(&s.rules, wire.JSON, s, message)
			}
			refused := 0
			for _, line := range s.log {
				if line == `{"id":2,"error":{"code":111,"message":"too many requests","temporary":true}}` {
					refused++
				}
			}
			if len(s.accepted) != most || refused != publishShare+10-most {
				t.Errorf("%d bytes, round %d: %d are published, %d refused; want %d published", size, round, len(s.accepted), refused, most)
			}
			for _, accepted := range s.accepted {
				accepted([]error{nil, errors.New("refused")}[round%2])
			}
			s.log, s.accepted = nil, nil
		}
		if s.session.publishing != 0 {
			t.Errorf("%d units are missing", s.session.publishing)
		}
	}
}
