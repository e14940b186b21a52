package admission

import (
	"container/list"
	"sync"
	"time"
)

// Plain is the socket of a connection that net/http serves. Its methods may be called
// concurrently.
type Plain struct {
	controller *Controller
	refusal    *Refusal
	abort      func()
	limit      *time.Timer // ends it if it is refused

	mu       sync.Mutex // guards what follows
	socket   Socket
	waiting  bool // for its next request: the answer to the one before has been sent
	evicted  bool // it ends once it waits
	hijacked bool
	gone     bool // it has been closed or released

	// The idle registry's.
	everywhere, own *list.Element
}

// Plain returns the Plain of a socket that Open has counted, with the refusal that
// Open returned. abort closes its TCP connection at once, and must call Close.
func (c *Controller) Plain(s Socket, refusal *Refusal, abort func()) *Plain {
	p := &Plain{controller: c, refusal: refusal, abort: abort, socket: s}
	if refusal != nil {
		p.limit = time.AfterFunc(RefusalTime, abort)
	}
	return p
}

// Refusal returns the answer to whatever the connection requests; nil: there is none.
func (p *Plain) Refusal() *Refusal { return p.refusal }

// Answered is called when a request has been answered, before the answer is sent: from
// then on the connection may be given up for another. A client that has its answer
// finds room for its next connection.
func (p *Plain) Answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone && !p.hijacked && !p.socket.excess {
		p.controller.sockets.idle.add(p, p.socket.address)
	}
}

// Idle is called when the answer has been sent and the next request is waited for.
func (p *Plain) Idle() {
	p.Answered()
	p.mu.Lock()
	p.waiting = true
	evicted := p.evicted && !p.gone
	p.mu.Unlock()
	if evicted {
		p.abort()
	}
}

// Busy is called when another request has begun to come in.
func (p *Plain) Busy() {
	p.mu.Lock()
	p.waiting = false
	p.mu.Unlock()
	p.controller.sockets.idle.remove(p)
}

// Hijacked is called when the connection is no longer net/http's. Its socket counts
// until Close.
func (p *Plain) Hijacked() {
	p.mu.Lock()
	p.hijacked = true
	p.mu.Unlock()
	p.Busy()
}

// evict makes room: it ends the connection, or, while its answer is on its way, counts
// it as one that is over a limit and ends it after that.
func (p *Plain) evict() {
	p.mu.Lock()
	if !p.waiting && !p.gone {
		if turned, ok := p.controller.TurnAway(p.socket); ok {
			p.socket, p.evicted = turned, true
			p.mu.Unlock()
			return
		}
	}
	p.mu.Unlock()
	p.abort()
}

// TurnAway is Controller.TurnAway for the connection. If there is no room for it, it
// counts as before until it is closed, which net/http does with the answer.
func (p *Plain) TurnAway() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		p.socket, _ = p.controller.TurnAway(p.socket)
	}
}

// Close ends the counting of the socket. Only the first call counts.
func (p *Plain) Close() {
	if s, ok := p.Release(); ok {
		p.controller.Close(s)
	}
}

// Release returns the socket, which counts on and is the caller's. ok is false if it
// has been closed.
func (p *Plain) Release() (s Socket, ok bool) {
	p.mu.Lock()
	s, ok = p.socket, !p.gone
	p.gone = true
	p.mu.Unlock()
	p.Busy()
	if p.limit != nil {
		p.limit.Stop()
	}
	return s, ok
}

// idle knows the connections that wait for their next request, those that have done so
// for longest first. The zero value is ready for use.
type idle struct {
	mu         sync.Mutex // guards what follows, and the elements of each Plain
	everywhere list.List
	own        map[Address]*list.List
}

func (i *idle) add(p *Plain, address Address) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if p.everywhere != nil {
		return
	}
	if i.own == nil {
		i.own = make(map[Address]*list.List)
	}
	own := i.own[address]
	if own == nil {
		own = list.New()
		i.own[address] = own
	}
	p.everywhere, p.own = i.everywhere.PushBack(entry{p, address}), own.PushBack(p)
}

// entry is a value of idle.everywhere.
type entry struct {
	plain   *Plain
	address Address
}

func (i *idle) remove(p *Plain) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.drop(p)
}

// drop must be called with mu held.
func (i *idle) drop(p *Plain) {
	if p.everywhere == nil {
		return
	}
	address := i.everywhere.Remove(p.everywhere).(entry).address
	own := i.own[address]
	if own.Remove(p.own); own.Len() == 0 {
		delete(i.own, address)
	}
	p.everywhere, p.own = nil, nil
}

// evict closes the connection that has been idle for longest, of one address unless
// that is the zero one. It reports whether there was one.
func (i *idle) evict(address Address) bool {
	i.mu.Lock()
	var p *Plain
	if address == (Address{}) {
		if first := i.everywhere.Front(); first != nil {
			p = first.Value.(entry).plain
		}
	} else if own := i.own[address]; own != nil {
		p = own.Front().Value.(*Plain)
	}
	if p != nil {
		i.drop(p)
	}
	i.mu.Unlock()
	if p == nil {
		return false
	}
	p.evict()
	return true
}
