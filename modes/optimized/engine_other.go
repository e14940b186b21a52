//go:build !linux

package optimized

import (
	"errors"
	"time"

	"github.com/tandem-ws/tandem/modes"
)

// ErrUnsupported says that this engine needs epoll.
var ErrUnsupported = errors.New("optimized: this mode needs Linux (epoll); use MODE=idiomatic")

// Options are the settings of this engine alone.
type Options struct {
	Loops           int
	Workers         int
	ScheduleTimeout time.Duration
}

// Engine does not exist on this system.
type Engine struct{ modes.Engine }

// New returns ErrUnsupported.
func New(modes.Config, Options) (*Engine, error) { return nil, ErrUnsupported }
