package anchor

import (
	"time"

	"github.com/tandem-ws/tandem/compare/process"
)

// noise measures how much of the machine others used during a run.
type noise struct {
	began         time.Time
	machine, ours time.Duration
}

// noisy is how many CPUs others may use before a run counts as disturbed: they empty
// the caches, which affects a large program more than the small floor.
const noisy = 0.15

func (b *bench) ours() (time.Duration, error) {
	total, err := process.CPU(0)
	if err != nil {
		return 0, err
	}
	for _, pid := range []int{b.redis.PID(), b.server.PID(), b.load.PID()} {
		used, err := process.CPU(pid)
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

func (b *bench) listen() (noise, error) {
	machine, err := process.MachineCPU()
	if err != nil {
		return noise{}, err
	}
	ours, err := b.ours()
	return noise{time.Now(), machine, ours}, err
}

// since returns how many CPUs others have used on average since n.
func (b *bench) since(n noise) (float64, error) {
	now, err := b.listen()
	if err != nil {
		return 0, err
	}
	others := (now.machine - n.machine) - (now.ours - n.ours)
	return max(0, others.Seconds()/now.began.Sub(n.began).Seconds()), nil
}
