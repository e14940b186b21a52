package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Policies of the scheduler, see sched(7).
const (
	schedNormal = 0
	schedIdle   = 5
)

// stayAwake makes the loop poll for d ns after anything came, before it goes to
// sleep. It polls below every other thread, so that who shares its CPU, Redis
// and the publisher, is not kept waiting.
func (l *loop) stayAwake(d int64) error {
	policy := uint32(schedNormal)
	if d > 0 {
		policy = schedIdle
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: policy}, 0); err != nil {
		return fmt.Errorf("load: awake: set the scheduling policy: %w", err)
	}
	l.awake = d
	return nil
}

// poll fills l.events with what is there. When there is nothing it keeps looking
// for as long as the loop is to stay awake.
func (l *loop) poll() int {
	n := l.epollNow()
	if n > 0 || l.awake == 0 {
		return n
	}
	before := now()
	for t := before; n == 0 && t < l.now+l.awake; t = now() {
		n = l.epollNow()
	}
	l.blocked += now() - before
	return n
}
