package redisbus

import (
	"sync"
	"time"
)

// maxBatch is how many channels one SUBSCRIBE or UNSUBSCRIBE names at most. It
// keeps Redis from spending more than about a millisecond on one command.
const maxBatch = 512

// state is what Redis has been told about a channel on the present link, and
// what it has confirmed.
type state uint8

const (
	detached      state = iota // referenced, but Redis is not asked: no link, or Redis refused a while ago
	queued                     // waits for its turn in a SUBSCRIBE
	subscribing                // in a SUBSCRIBE that is not confirmed
	subscribed                 // confirmed
	unsubscribing              // in an UNSUBSCRIBE that is not confirmed
)

// reference is all that is kept for a channel in the steady state, its name
// apart. It has 8 bytes and no pointers.
type reference struct {
	count     uint32 // references held, those of waiting Subscribe calls included
	round     uint16 // how often count has fallen to zero, modulo 65536
	state     state
	lingering bool // one item of channels.lingerers is about this channel
	gap       bool // referenced when a link broke, and not yet reported as lost
}

// lingerer is a channel without references that stays subscribed until due.
type lingerer struct {
	name  string
	due   time.Duration
	round uint16
}

// channels counts the references of the channels of one link, and turns them
// into batched commands. It does no I/O: the link's owner asks for the next
// command, and its reader says how Redis answered. Times are durations since an
// epoch of the caller's.
//
// A channel has two spellings: with the prefix ("name", what Redis knows) and
// without. What is kept is the caller's own string, without; names are made for as
// long as a command is on its way.
type channels struct {
	prefix  string
	linger  time.Duration
	timeout time.Duration // of a Subscribe

	mu         sync.Mutex // guards everything below
	connected  bool
	closed     bool
	refs       map[string]*reference // by channel
	pending    map[string]*pending   // by channel, if a Subscribe waits for it
	waiters    waiters               // those of pending
	settled    []string              // channels that were confirmed before the last Subscribe for them
	refused    answers               // Subscribe calls while there is no link
	references int                   // sum of refs' counts
	gaps       int                   // refs with a gap
	queue      []string              // names in state queued, each once
	retry      [][]string            // names in state subscribing, to be asked for again
	lingerers  []lingerer            // in order of due
	denied     map[string]error      // by channel: those referenced that Redis refuses, and how
	retryAt    time.Duration         // when to ask for those again
	retryPause backoff
}

func newChannels(opts *Options) *channels {
	return &channels{
		prefix:     opts.Prefix,
		linger:     opts.Linger,
		timeout:    opts.SubscribeTimeout,
		refs:       make(map[string]*reference),
		pending:    make(map[string]*pending),
		denied:     make(map[string]error),
		retryPause: backoff{least: opts.ReconnectMin, most: maxRetryPauses * opts.ReconnectMax},
	}
}

// channel is name without the prefix.
func (c *channels) channel(name string) string { return name[len(c.prefix):] }

// wakes says whom a change gives something to do.
type wakes struct {
	link     bool // there is a new command to send
	answerer bool // there is a new answer, or a new time at which one is due
}

// acquire takes a reference for a Subscribe, whose done is part of the answers of
// a later call. It returns ErrClosed, and takes none, if there will be no such
// call.
func (c *channels) acquire(channel string, now time.Duration, done func(error)) (wakes, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return wakes{}, ErrClosed
	}
	var wake wakes
	w := &waiter{channel: channel, done: done, due: now + c.timeout}
	if !c.connected {
		wake.answerer = c.refused.first == nil
		c.refused.add(w, ErrNotConnected)
		return wake, nil
	}
	ref := c.refs[channel]
	if ref == nil || ref.state == detached {
		if ref == nil {
			ref = new(reference)
			c.refs[channel] = ref
		}
		ref.state = queued
		c.queue = append(c.queue, c.prefix+channel)
		wake.link = true
	}
	ref.count++
	c.references++
	p := c.pending[channel]
	if p == nil {
		p = new(pending)
		c.pending[channel] = p
		if ref.state == subscribed {
			wake.answerer = len(c.settled) == 0
			c.settled = append(c.settled, channel)
		}
	}
	wake.answerer = wake.answerer || c.waiters.first == nil
	p.add(w)
	c.waiters.add(w)
	return wake, nil
}

// overdue returns the answers that are due and that no command of the link
// brings, and the time at which there may be more, or 0 for never. With final it
// is the last such call.
func (c *channels) overdue(now time.Duration, final bool) (due answers, again time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = c.closed || final
	due, c.refused = c.refused, answers{}
	for _, channel := range c.settled {
		// The link may have broken meanwhile.
		if ref := c.refs[channel]; ref != nil && ref.state == subscribed {
			c.resolve(channel, nil, &due)
		}
	}
	c.settled = nil
	for w := c.waiters.first; w != nil && w.due <= now; w = c.waiters.first {
		c.waiters.remove(w)
		p := c.pending[w.channel]
		if p.removeFirst(); p.count == 0 {
			delete(c.pending, w.channel)
		}
		// The channel is on its way to Redis or back; the answer finds out that
		// nobody wants it.
		c.drop(w.channel, c.refs[w.channel], 1)
		due.add(w, errSubscribeTimeout)
	}
	if c.waiters.first != nil {
		again = c.waiters.first.due
	}
	return due, again
}

// release gives a reference back. It returns false when there is none, which is
// a mistake of the caller. wake says that the link's owner has a new time to
// wake up at.
func (c *channels) release(channel string, now time.Duration) (held, wake bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ref := c.refs[channel]
	if ref == nil || ref.count == 0 {
		return false, false
	}
	c.drop(channel, ref, 1)
	if ref.count > 0 {
		return true, false
	}
	switch {
	case ref.state == detached:
		delete(c.refs, channel)
	case ref.state == subscribed && !ref.lingering:
		wake = len(c.lingerers) == 0
		// The name is built once more rather than kept for every channel.
		c.startLinger(ref, c.prefix+channel, now)
	}
	return true, wake
}

// drop takes n off the references of a channel.
func (c *channels) drop(channel string, ref *reference, n uint32) {
	ref.count -= n
	c.references -= int(n)
	if ref.count == 0 {
		ref.round++
		delete(c.denied, channel)
		if ref.gap {
			ref.gap = false
			c.gaps--
		}
	}
}

func (c *channels) startLinger(ref *reference, name string, now time.Duration) {
	ref.lingering = true
	c.lingerers = append(c.lingerers, lingerer{name: name, due: now + c.linger, round: ref.round})
}

// next returns the names to be subscribed, or else those to be unsubscribed.
// Without either it returns when to ask again at the latest, or 0 for never.
func (c *channels) next(now time.Duration) (subscribe, unsubscribe []string, again time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.retry); n > 0 {
		subscribe = c.retry[n-1]
		c.retry = c.retry[:n-1]
		return subscribe, nil, 0
	}
	c.queueDenied(now)
	if subscribe = c.nextQueued(); len(subscribe) > 0 {
		return subscribe, nil, 0
	}
	if unsubscribe = c.nextLingered(now); len(unsubscribe) > 0 {
		return nil, unsubscribe, 0
	}
	if len(c.lingerers) > 0 {
		again = c.lingerers[0].due
	}
	if len(c.denied) > 0 && (again == 0 || c.retryAt < again) {
		again = c.retryAt
	}
	return nil, nil, again
}

func (c *channels) nextQueued() []string {
	var names []string
	taken := 0
	for _, name := range c.queue {
		if len(names) == maxBatch {
			break
		}
		taken++
		channel := c.channel(name)
		ref := c.refs[channel]
		if ref.count == 0 {
			delete(c.refs, channel)
			continue
		}
		ref.state = subscribing
		if names == nil {
			names = make([]string, 0, min(len(c.queue), maxBatch))
		}
		names = append(names, name)
	}
	if c.queue = c.queue[taken:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return names
}

func (c *channels) nextLingered(now time.Duration) []string {
	// Whoever has an eighth of the time left goes with the first: that bounds
	// how many commands a steady trickle of them makes.
	horizon := now + c.linger/8
	var names []string
	taken := 0
	if len(c.lingerers) > 0 && c.lingerers[0].due > now {
		return nil
	}
	for _, item := range c.lingerers {
		if len(names) == maxBatch || item.due > horizon {
			break
		}
		taken++
		ref := c.refs[c.channel(item.name)]
		ref.lingering = false
		switch {
		case ref.count > 0:
		case ref.round != item.round:
			// It was in use meanwhile, so its time begins anew. Appending to the
			// slice under the loop is sound: range has the old length, and the
			// new item is not due.
			c.startLinger(ref, item.name, now)
		default:
			ref.state = unsubscribing
			names = append(names, item.name)
		}
	}
	if c.lingerers = c.lingerers[taken:]; len(c.lingerers) == 0 {
		c.lingerers = nil
	}
	return names
}

// lost returns those of the names that have a gap to be reported, without the
// prefix. To be asked when Redis has answered, before the answer is entered, so
// that nobody who subscribes after the gap is told of it. One that Redis refused is
// reported then, and once more when it is confirmed: what came between is missing.
func (c *channels) lost(names []string, confirmed bool) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gaps == 0 && len(c.denied) == 0 {
		return nil
	}
	var lost []string
	for _, name := range names {
		channel := c.channel(name)
		if _, denied := c.denied[channel]; c.refs[channel].gap || denied && confirmed {
			lost = append(lost, channel)
		}
	}
	return lost
}

// confirmSubscribe enters that Redis has confirmed the SUBSCRIBE of the names,
// whose gaps have been reported. wake is as in release.
func (c *channels) confirmSubscribe(names []string, now time.Duration) (confirmed answers, wake bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		channel := c.channel(name)
		ref := c.refs[channel]
		ref.state = subscribed
		c.closeGap(ref)
		if delete(c.denied, channel); len(c.denied) == 0 {
			c.retryPause.reset()
		}
		if ref.count == 0 {
			wake = wake || len(c.lingerers) == 0
			c.startLinger(ref, name, now)
		}
		c.resolve(channel, nil, &confirmed)
	}
	return confirmed, wake
}

// confirmUnsubscribe enters that Redis has confirmed the UNSUBSCRIBE of the
// names. Those that have been asked for again meanwhile are queued.
func (c *channels) confirmUnsubscribe(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		channel := c.channel(name)
		ref := c.refs[channel]
		if ref.count == 0 {
			delete(c.refs, channel)
			continue
		}
		ref.state = queued
		c.queue = append(c.queue, name)
	}
}

func (c *channels) closeGap(ref *reference) {
	if ref.gap {
		ref.gap = false
		c.gaps--
	}
}

// resolve ends the wait for channel, and adds those who waited to to; with an
// error it takes their references back.
func (c *channels) resolve(channel string, err error, to *answers) {
	p := c.pending[channel]
	if p == nil {
		return
	}
	delete(c.pending, channel)
	if err != nil {
		c.drop(channel, c.refs[channel], p.count)
	}
	for w := p.first; w != nil; {
		next := w.after
		c.waiters.remove(w)
		to.add(w, err)
		w = next
	}
}

// connect queues every referenced channel, for a link without subscriptions.
func (c *channels) connect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected = true
	// A new map, for a map never shrinks.
	refs := make(map[string]*reference, len(c.refs))
	c.queue = make([]string, 0, len(c.refs))
	for channel, ref := range c.refs {
		name := c.prefix + channel
		ref.state = queued
		refs[channel] = ref
		c.queue = append(c.queue, name)
	}
	c.refs = refs
}

// disconnect fails all that wait, forgets what is unreferenced, and marks the
// rest as having a gap.
func (c *channels) disconnect() (failed answers) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected = false
	c.queue, c.retry, c.lingerers = nil, nil, nil
	clear(c.denied)
	for c.waiters.first != nil {
		c.resolve(c.waiters.first.channel, ErrNotConnected, &failed)
	}
	for channel, ref := range c.refs {
		if ref.count == 0 {
			delete(c.refs, channel)
			continue
		}
		ref.state, ref.lingering, ref.gap = detached, false, true
	}
	c.gaps = len(c.refs)
	return failed
}

// idle reports whether there is nothing to be subscribed to.
func (c *channels) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.refs) == 0
}

// size returns the number of channels known, of references, and of gaps that
// are not yet reported.
func (c *channels) size() (known, references, gaps int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.refs), c.references, c.gaps
}
