package redisbus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// model is a Redis with one connection, and what the callers of channels hold
// and wait for, entered separately.
type model struct {
	t   *testing.T
	rnd *rand.Rand
	c   *channels
	now time.Duration

	redis    map[string]bool // names subscribed on the connection
	command  []string        // in flight
	joining  bool            // the command is SUBSCRIBE
	up       bool
	denied   map[string]bool // names that Redis refuses
	held     map[string]int  // by channel, confirmed references
	waiting  []*wait
	gaps     map[string]bool // channels held without a break since the link broke
	refused  map[string]bool // channels held and refused
	reported int
}

// wait is a Subscribe that is not answered, or was and is not collected.
type wait struct {
	channel  string
	due      time.Duration
	answered bool
	err      error
}

const modelChannels = 12

func (m *model) anyChannel() string { return fmt.Sprintf("c%d", m.rnd.IntN(modelChannels)) }

func (m *model) acquire() {
	w := &wait{channel: m.anyChannel(), due: m.now + m.c.timeout}
	if _, err := m.c.acquire(w.channel, m.now, func(err error) {
		if w.answered {
			m.t.Fatalf("%s answered twice", w.channel)
		}
		w.answered, w.err = true, err
	}); err != nil {
		m.t.Fatalf("acquire: %v", err)
	}
	if w.answered {
		m.t.Fatalf("%s answered by acquire", w.channel)
	}
	if !m.up {
		m.overdue()
		if !w.answered || !errors.Is(w.err, ErrNotConnected) {
			m.t.Fatalf("acquire while down: answered %v, %v", w.answered, w.err)
		}
		return
	}
	m.waiting = append(m.waiting, w)
}

// overdue collects the answers that need none of Redis.
func (m *model) overdue() {
	due, again := m.c.overdue(m.now, false)
	if again > 0 && again <= m.now {
		m.t.Fatalf("next answer due at %v, now is %v", again, m.now)
	}
	due.call()
	m.collect(nil, errSubscribeTimeout)
	for _, w := range m.waiting {
		if w.due <= m.now {
			m.t.Fatalf("%s waits beyond its time", w.channel)
		}
		if m.redis[m.c.prefix+w.channel] && !m.leaving(w.channel) {
			m.t.Fatalf("%s waits for what is subscribed", w.channel)
		}
	}
}

// leaving reports whether the channel is in an UNSUBSCRIBE that is not answered.
func (m *model) leaving(channel string) bool {
	return !m.joining && slices.Contains(m.command, m.c.prefix+channel)
}

func (m *model) release() {
	channel := m.anyChannel()
	if m.held[channel] == 0 && m.awaited(channel) {
		// It would take the reference of the waiting call, which no caller does.
		return
	}
	held, _ := m.c.release(channel, m.now)
	if m.held[channel] == 0 {
		if held {
			m.t.Fatalf("released %s, which nobody holds", channel)
		}
		return
	}
	if !held {
		m.t.Fatalf("%s has no reference, want %d", channel, m.held[channel])
	}
	m.held[channel]--
	m.forgetGap(channel)
}

// forgetGap is called when a reference has gone: nobody is told of a gap that
// happened before they came.
func (m *model) forgetGap(channel string) {
	if m.held[channel] == 0 && !m.awaited(channel) {
		delete(m.gaps, channel)
		delete(m.refused, channel)
	}
}

func (m *model) awaited(channel string) bool {
	return slices.ContainsFunc(m.waiting, func(w *wait) bool { return w.channel == channel })
}

// collect takes the waiting calls that have been answered.
func (m *model) collect(expected ...error) {
	var failed []string
	m.waiting = slices.DeleteFunc(m.waiting, func(w *wait) bool {
		if !w.answered {
			return false
		}
		if !slices.ContainsFunc(expected, func(want error) bool { return errors.Is(w.err, want) }) {
			m.t.Fatalf("%s answered with %v, want one of %v", w.channel, w.err, expected)
		}
		if w.err != nil {
			failed = append(failed, w.channel)
			return true
		}
		if !m.redis[m.c.prefix+w.channel] {
			m.t.Fatalf("%s confirmed without a subscription in Redis", w.channel)
		}
		m.held[w.channel]++
		return true
	})
	for _, channel := range failed {
		m.forgetGap(channel)
	}
}

func (m *model) send() {
	if !m.up || m.command != nil {
		return
	}
	join, leave, _ := m.c.next(m.now)
	if m.joining = join != nil; m.joining {
		m.command = join
	} else {
		m.command = leave
	}
	if len(m.command) > maxBatch {
		m.t.Fatalf("%d names in one command", len(m.command))
	}
	for _, name := range m.command {
		if m.redis[name] == m.joining {
			m.t.Fatalf("join %v of %s, which is so already", m.joining, name)
		}
		if !m.joining && m.held[strings.TrimPrefix(name, m.c.prefix)] > 0 {
			m.t.Fatalf("%s is held and unsubscribed", name)
		}
	}
}

var errDenied = errors.New("NOPERM")

func (m *model) answer() {
	names := m.command
	m.command = nil
	switch {
	case names == nil:
	case !m.joining:
		for _, name := range names {
			delete(m.redis, name)
		}
		m.c.confirmUnsubscribe(names)
	case slices.ContainsFunc(names, func(name string) bool { return m.denied[name] }):
		if len(names) == 1 {
			m.report(names, false)
		}
		m.c.refuse(names, m.now, errDenied).call()
		m.collect(errDenied)
		if channel := strings.TrimPrefix(names[0], m.c.prefix); len(names) == 1 && m.held[channel] > 0 {
			m.refused[channel] = true
		}
	default:
		for _, name := range names {
			m.redis[name] = true
		}
		m.report(names, true)
		confirmed, _ := m.c.confirmSubscribe(names, m.now)
		confirmed.call()
		m.collect(nil)
	}
}

func (m *model) report(names []string, confirmed bool) {
	for _, channel := range m.c.lost(names, confirmed) {
		if !m.gaps[channel] && !(confirmed && m.refused[channel]) {
			m.t.Fatalf("%s reported as lost without a gap", channel)
		}
		delete(m.gaps, channel)
		if confirmed {
			delete(m.refused, channel)
		}
		m.reported++
	}
	for _, name := range names {
		if channel := strings.TrimPrefix(name, m.c.prefix); m.gaps[channel] || confirmed && m.refused[channel] {
			m.t.Fatalf("%s is subscribed again and its gap unreported", channel)
		}
	}
}

func (m *model) disconnect() {
	if !m.up {
		return
	}
	m.up, m.command = false, nil
	clear(m.redis)
	m.c.disconnect().call()
	m.collect(ErrNotConnected)
	if len(m.waiting) > 0 {
		m.t.Fatalf("%d calls still wait after the link broke", len(m.waiting))
	}
	clear(m.gaps)
	clear(m.refused)
	for channel, n := range m.held {
		if n > 0 {
			m.gaps[channel] = true
		}
	}
}

func (m *model) connect() {
	if !m.up {
		m.up = true
		m.c.connect()
	}
}

func (m *model) check() {
	want := len(m.waiting)
	for _, n := range m.held {
		want += n
	}
	known, references, gaps := m.c.size()
	if n, _, _ := m.c.refusals(); n != len(m.refused) {
		m.t.Fatalf("%d channels refused, want %d", n, len(m.refused))
	}
	if references != want || gaps != len(m.gaps) || known > modelChannels {
		m.t.Fatalf("%d references and %d gaps of %d channels, want %d and %d",
			references, gaps, known, want, len(m.gaps))
	}
}

// settle lets everything come to rest, and compares Redis with what is held.
func (m *model) settle() {
	m.connect()
	clear(m.denied)
	for range 3 {
		for {
			m.send()
			if m.command == nil {
				break
			}
			m.answer()
			m.check()
		}
		m.overdue()
		m.now += 2*m.c.linger + 2*m.c.retryPause.most
	}
	if len(m.waiting) > 0 || len(m.gaps) > 0 {
		m.t.Fatalf("%d calls wait and %d gaps are unreported at rest", len(m.waiting), len(m.gaps))
	}
	for i := range modelChannels {
		channel := fmt.Sprintf("c%d", i)
		if held := m.held[channel] > 0; held != m.redis[m.c.prefix+channel] {
			m.t.Fatalf("%s: held %v, subscribed in Redis %v", channel, held, m.redis[m.c.prefix+channel])
		}
		if m.held[channel] == 0 && m.c.refs[channel] != nil {
			m.t.Fatalf("%s is remembered for nothing", channel)
		}
	}
}

// TestChannelsModel runs random interleavings of everything that can happen to
// the channels of a link against a model of Redis and of the callers.
func TestChannelsModel(t *testing.T) {
	reported := 0
	for seed := range uint64(400) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { reported += runModel(t, seed) })
	}
	if reported == 0 {
		t.Error("no gap was ever reported: the model exercises too little")
	}
}

func runModel(t *testing.T, seed uint64) (reported int) {
	m := &model{
		t: t, rnd: rand.New(rand.NewPCG(seed, 0)),
		c: newChannels(&Options{
			Prefix: []string{"", "p:"}[seed%2], Linger: time.Second, SubscribeTimeout: 5 * time.Second,
			ReconnectMin: 100 * time.Millisecond, ReconnectMax: 100 * time.Millisecond,
		}),
		redis: map[string]bool{}, denied: map[string]bool{},
		held: map[string]int{}, gaps: map[string]bool{}, refused: map[string]bool{},
	}
	if seed%5 == 0 {
		m.c.linger = 0
	}
	for range 600 {
		switch n := m.rnd.IntN(100); {
		case n < 25:
			m.acquire()
		case n < 50:
			m.release()
		case n < 55:
			m.overdue()
		case n < 70:
			m.send()
		case n < 88:
			m.answer()
		case n < 94:
			m.now += time.Duration(m.rnd.IntN(int(time.Second)))
		case n < 96:
			m.connect()
		case n < 97:
			m.disconnect()
		case n < 98:
			m.settle()
		default:
			name := m.c.prefix + m.anyChannel()
			m.denied[name] = !m.denied[name]
		}
		m.check()
	}
	m.settle()
	return m.reported
}
