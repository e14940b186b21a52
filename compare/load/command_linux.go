package load

import (
	"fmt"
	"math"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/compare/workload"
)

const never = math.MaxInt64

// job is a connect command in progress.
type job struct {
	command Command
	group   uint16
	pace    pacer
	pending int // started, neither subscribed nor failed
}

// waiter is a command that is answered later.
type waiter struct {
	command  Command
	deadline int64
	done     func() bool // nil: at the deadline only
	late     func()      // what to do if the deadline came first; may be nil
}

// churn replaces connections.
type churn struct {
	pace   pacer
	on     bool
	how    string
	cursor int
}

// publishing is publication from clients.
type publishing struct {
	command Command
	pace    pacer
	on      bool
	cursor  int
	shared  []uint32 // by group: numbers given on its shared channel
	message []byte
}

// command carries out c, or starts to.
func (l *loop) command(c Command) {
	if c.problem != nil {
		l.answer(c, c.problem)
		return
	}
	switch c.Cmd {
	case Connect:
		if err := l.connectJob(c); err != nil {
			l.answer(c, err)
		}
		return
	case Idle:
		l.waitFor(waiter{command: c, deadline: l.now + int64(c.MS)*1e6})
		return
	case Disconnect:
		l.disconnect(c)
		return
	case Settle:
		l.settle(c)
		return
	case Publish:
		l.startPublishing(c)
		return
	case Quit:
		l.quitting = &c
		return
	case Awake:
		l.answer(c, l.stayAwake(int64(c.MS)*1e6))
		return
	case Freeze:
		l.freeze(c.Fraction)
	case Churn:
		l.churn.on = c.Rate > 0
		l.churn.how = c.How
		l.churn.pace = pacer{rate: c.Rate, start: l.now}
	case Mark:
		l.eachJoined(func(r *record) { r.expect(at(c.NextEach, r.channel, c.Next)) })
	}
	l.answer(c, nil)
}

// at returns each[i], or all if there is no such element.
func at(each []uint32, i, all uint32) uint32 {
	if uint64(i) < uint64(len(each)) {
		return each[i]
	}
	return all
}

func (l *loop) eachJoined(do func(*record)) {
	for i := range l.slab.used {
		if r := l.slab.at(uint32(i)); r.state == joined {
			do(r)
		}
	}
}

func (l *loop) waitFor(w waiter) { l.waiters = append(l.waiters, w) }

// checkEvery is how often expensive conditions are checked, in ns.
const checkEvery = 10_000_000

func (l *loop) waitersDue() int64 {
	next := int64(never)
	kept := l.waiters[:0]
	for _, w := range l.waiters {
		switch {
		case w.done != nil && w.done():
			l.answer(w.command, nil)
		case l.now >= w.deadline:
			if w.late != nil {
				w.late()
			}
			l.answer(w.command, nil)
		default:
			kept = append(kept, w)
			next = min(next, w.deadline)
			if w.done != nil {
				next = min(next, l.now+checkEvery)
			}
		}
	}
	clear(l.waiters[len(kept):])
	l.waiters = kept
	return next
}

func (l *loop) connectJob(c Command) error {
	address, err := net.ResolveTCPAddr("tcp4", c.Target)
	if err != nil {
		return fmt.Errorf("load: connect: target %q: %w", c.Target, err)
	}
	to := address.AddrPort().Addr().Unmap()
	first, err := netip.ParseAddr(c.From)
	if err != nil {
		return bad("connect: from %q: %v", c.From, err)
	}
	made := newGroup(&c)
	last := len(l.groups) - 1
	// many small connect commands must not exhaust the groups
	if last >= 0 && l.groups[last] == made && l.targets[last].source.first == first && l.targets[last].source.count == c.Sources {
		l.jobs = append(l.jobs, &job{command: c, group: uint16(last)})
		return nil
	}
	if last >= math.MaxUint16 {
		return bad("connect: more than %d different connect commands in one process", math.MaxUint16)
	}
	l.groups = append(l.groups, made)
	l.targets = append(l.targets, target{
		address: unix.SockaddrInet4{Addr: to.As4(), Port: address.Port},
		source:  source{first: first, count: c.Sources, local: to.IsLoopback()},
	})
	l.publish.shared = append(l.publish.shared, 0)
	l.jobs = append(l.jobs, &job{command: c, group: uint16(last + 1)})
	return nil
}

// startsAtOnce limits how many connections are started before others are served.
const startsAtOnce = 64

// connectDue starts the connections that are due.
func (l *loop) connectDue() int64 {
	for {
		if l.job == nil {
			if len(l.jobs) == 0 {
				return never
			}
			l.job, l.jobs = l.jobs[0], l.jobs[1:]
			l.job.pace = pacer{rate: l.job.command.Rate, start: l.now}
		}
		j := l.job
		for range startsAtOnce {
			if j.pace.done >= j.command.N || j.pending >= j.command.Window || !j.pace.due(l.now) {
				break
			}
			intended := j.pace.next()
			if j.pace.rate == 0 {
				intended = l.now
			}
			var channel uint32
			if l.groups[j.group].each {
				channel = uint32(j.command.First + j.pace.done)
				if n := j.command.Channels; n > 0 {
					channel %= uint32(n)
				}
			}
			j.pending++
			l.dial(j.group, channel, intended, counted)
			j.pace.done++
		}
		switch {
		case j.pace.done >= j.command.N && j.pending == 0:
			l.job = nil
			l.answer(j.command, nil)
			continue
		case j.pace.done >= j.command.N || j.pending >= j.command.Window:
			return never // an event of theirs comes first
		}
		return j.pace.next()
	}
}

func (l *loop) disconnect(c Command) {
	n := c.N
	if n == 0 {
		n = math.MaxInt
	}
	ended := make(map[uint32]uint32) // index to generation
	for i := 0; i < l.slab.used && len(ended) < n; i++ {
		r := l.slab.at(uint32(i))
		if r.state != joined && r.state != joining {
			continue
		}
		ended[r.index] = r.gen
		l.hangUp(r, c.How)
	}
	l.waitFor(waiter{command: c, deadline: l.now + closeTime + sweepEvery, done: func() bool {
		for index, gen := range ended {
			if l.slab.at(index).gen == gen {
				return false
			}
		}
		return true
	}})
}

func (l *loop) freeze(fraction float64) {
	if fraction == 0 {
		for i := range l.slab.used {
			if r := l.slab.at(uint32(i)); r.state != unused && r.flags&frozen != 0 {
				r.flags &^= frozen
				l.frozen--
				l.rewatch(r)
			}
		}
		return
	}
	var share float64
	l.eachJoined(func(r *record) {
		if share += fraction; share >= 1 {
			share--
			if r.flags&frozen == 0 {
				r.flags |= frozen
				l.frozen++
				l.rewatch(r)
			}
		}
	})
}

func (l *loop) settle(c Command) {
	timeout := int64(c.TimeoutMS) * 1e6
	if timeout == 0 {
		timeout = 5e9
	}
	last := func(r *record) uint32 {
		switch {
		case !c.Own:
			return at(c.LastEach, r.channel, c.Last)
		case l.groups[r.group].each:
			return r.sent
		}
		return l.publish.shared[r.group]
	}
	w := waiter{
		command:  c,
		deadline: l.now + timeout,
		done: func() bool {
			for i := range l.slab.used {
				if r := l.slab.at(uint32(i)); r.state == joined && r.behind(last(r)) > 0 {
					return false
				}
			}
			return true
		},
	}
	if !c.Patient {
		w.late = func() { l.eachJoined(func(r *record) { l.writeOff(r, last(r)) }) }
	}
	l.waitFor(w)
}

// pick returns the next subscribed connection from *cursor on that has none of the
// flags.
func (l *loop) pick(cursor *int, without flags) *record {
	for range l.slab.used {
		if *cursor >= l.slab.used {
			*cursor = 0
		}
		r := l.slab.at(uint32(*cursor))
		*cursor++
		if r.state == joined && r.flags&without == 0 {
			return r
		}
	}
	return nil
}

// churnDue replaces the connections that are due.
func (l *loop) churnDue() int64 {
	ch := &l.churn
	if !ch.on {
		return never
	}
	for range startsAtOnce {
		if !ch.pace.due(l.now) {
			break
		}
		intended := ch.pace.next()
		ch.pace.done++
		r := l.pick(&ch.cursor, frozen)
		if r == nil {
			continue
		}
		group, channel := r.group, r.channel
		l.hangUp(r, ch.how)
		l.dial(group, channel, intended, replacement)
		l.count.Churned++
	}
	return ch.pace.next()
}

func (l *loop) startPublishing(c Command) {
	p := &l.publish
	p.command, p.on = c, c.Rate > 0 || c.Count > 0
	p.pace = pacer{rate: c.Rate, start: l.now}
	if c.Count == 0 {
		l.answer(c, nil)
	}
}

const publishAtOnce = 256

// publishDue sends the publications that are due.
func (l *loop) publishDue() int64 {
	p := &l.publish
	if !p.on {
		return never
	}
	for range publishAtOnce {
		if !p.pace.due(l.now) || p.command.Count > 0 && p.pace.done >= p.command.Count {
			break
		}
		if !l.publishOne(p.pace.next()) {
			return never // the socket's readiness comes first
		}
		p.pace.done++
	}
	if p.command.Count > 0 && p.pace.done >= p.command.Count {
		p.on = false
		timeout := int64(p.command.TimeoutMS) * 1e6
		if timeout == 0 {
			timeout = 5e9
		}
		l.waitFor(waiter{command: p.command, deadline: l.now + timeout, done: func() bool {
			return l.count.Acknowledged+l.count.Refused >= l.count.Published
		}})
		return never
	}
	return p.pace.next()
}

// publishOne publishes from a client what was due at time intended. It returns false
// if it must wait for a socket.
func (l *loop) publishOne(intended int64) bool {
	p := &l.publish
	r := l.pick(&p.cursor, frozen)
	if r == nil || l.groups[r.group].protocol != protoCentrifuge {
		l.count.Unsent++
		return true
	}
	g := &l.groups[r.group]
	number := &r.sent
	if !g.each {
		p.cursor = int(r.index) // a shared channel has one publisher, for order
		number = &p.shared[r.group]
	} else if r.flags&spilled != 0 {
		if r = l.pick(&p.cursor, frozen|spilled); r == nil {
			return false
		}
		number = &r.sent
	}
	if r.flags&spilled != 0 {
		return false
	}
	*number++
	m := workload.Message{Sequence: *number, Channel: r.channel, Time: intended}
	p.message = g.appendPublish(p.message[:0], subscribeID+*number, m, p.command.Size)
	l.out = appendFrame(l.out[:0], opText, p.message)
	l.count.Published++
	l.send(r, l.out)
	return true
}
