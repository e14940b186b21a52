package live

import "fmt"

// placement holds the CPUs of each process; none means any.
type placement struct {
	redis  []int
	server [variants][]int
	load   [variants][]int
}

// cpusToPin is how many CPUs placing needs: one for Redis, one for each load process
// and one for each server.
const cpusToPin = 1 + 2*variants

// place gives every process its own CPUs, and both servers the same number, if there
// are enough.
func place(cpus []int) placement {
	const others = 1 + variants
	each := (len(cpus) - others) / variants
	if len(cpus) < cpusToPin {
		return placement{}
	}
	p := placement{redis: cpus[:1]}
	next := others
	for i := range variants {
		p.load[i] = cpus[1+i : 2+i]
		p.server[i] = cpus[next : next+each]
		next += each
	}
	return p
}

// describe describes the placement.
func (p placement) describe(cpus int) string {
	if p.redis == nil {
		return fmt.Sprintf("Servers, load and Redis share %d CPUs and disturb each other; from %d CPUs on, each gets its own.", cpus, cpusToPin)
	}
	return fmt.Sprintf("Each server has %d of %d CPUs to itself; load processes and Redis have others.", len(p.server[0]), cpus)
}
