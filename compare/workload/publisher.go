package workload

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrPlan means that a plan is not valid; nothing was published.
	ErrPlan = errors.New("workload: bad plan")
	// ErrRedis means that Redis refused a command or that the link to it broke.
	ErrRedis = errors.New("workload: redis")
)

// Options say where and to which channels a Publisher publishes.
type Options struct {
	// URL of Redis, redis://[user:password@]host:port.
	URL string
	// Prefix is put before every channel's name: the server's REDIS_PREFIX.
	Prefix string
	// Channel is the channel's name; %d in it stands for the channel's number.
	Channel string
	// Channels is how many there are, from number First on; 1 if Channel holds no
	// %d.
	Channels int
	First    int
	// After are the last sequence numbers of an earlier Publisher, as Sent gave
	// them, to count on from.
	After []uint32
}

// Publisher publishes with sequence numbers that count on from plan to plan. Its
// methods may be called by several goroutines; plans run one after another.
type Publisher struct {
	options Options
	conn    net.Conn
	random  *rand.Rand

	running sync.Mutex // held while a plan runs, across I/O: it orders plans
	buf     []byte
	turn    int

	sent []atomic.Uint32 // last sequence number, by channel from First on

	// The reader counts answers, and closes broken when it ends.
	answered  atomic.Int64
	receivers atomic.Int64
	asked     atomic.Int64
	arrived   chan struct{} // a token: answers have come in
	broken    chan struct{}
	err       error // why, after broken
}

// NewPublisher connects to Redis. The caller closes the Publisher.
func NewPublisher(ctx context.Context, o Options) (*Publisher, error) {
	if strings.Count(o.Channel, "%") != strings.Count(o.Channel, "%d") || strings.Count(o.Channel, "%") > 1 || o.Channel == "" {
		return nil, fmt.Errorf("%w: channel %q: needs a name with at most one %%d", ErrPlan, o.Channel)
	}
	if !strings.Contains(o.Channel, "%d") {
		o.Channels, o.First = 1, 0
	}
	if o.Channels < 1 || o.First < 0 || o.First+o.Channels > MaxChannel {
		return nil, fmt.Errorf("%w: %d channels from number %d", ErrPlan, o.Channels, o.First)
	}
	where, err := url.Parse(o.URL)
	if err != nil || where.Host == "" || where.Scheme != "redis" {
		return nil, fmt.Errorf("%w: %q is not redis://host:port", ErrPlan, o.URL)
	}
	host := where.Host
	if where.Port() == "" {
		host = net.JoinHostPort(where.Hostname(), "6379")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("%w: connect to %s: %w", ErrRedis, host, err)
	}
	p := &Publisher{
		options: o, conn: conn,
		random:  rand.New(rand.NewPCG(1, 2)), // the same channels in every repeat
		sent:    newSent(o.Channels),
		arrived: make(chan struct{}, 1),
		broken:  make(chan struct{}),
	}
	for i := range p.sent {
		if number := o.First + i; number < len(o.After) {
			p.sent[i].Store(o.After[number])
		}
	}
	if err := p.authenticate(where.User); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go p.read()
	return p, nil
}

func newSent(channels int) []atomic.Uint32 { return make([]atomic.Uint32, channels) }

func (p *Publisher) authenticate(user *url.Userinfo) error {
	password, ok := user.Password()
	if !ok {
		return nil
	}
	parts := []string{"AUTH", password}
	if name := user.Username(); name != "" {
		parts = []string{"AUTH", name, password}
	}
	if _, err := p.conn.Write(appendCommand(nil, parts...)); err != nil {
		return fmt.Errorf("%w: authenticate: %w", ErrRedis, err)
	}
	var answer [512]byte
	n, err := p.conn.Read(answer[:])
	if err != nil {
		return fmt.Errorf("%w: authenticate: %w", ErrRedis, err)
	}
	if !bytes.HasPrefix(answer[:n], []byte("+OK")) {
		return fmt.Errorf("%w: authenticate: %s", ErrRedis, bytes.TrimSpace(answer[:n]))
	}
	return nil
}

// Sent returns the last sequence number published to each channel, indexed by
// channel number: what the load's settle command takes as last_each.
func (p *Publisher) Sent() []uint32 {
	all := make([]uint32, p.options.First+len(p.sent))
	for i := range p.sent {
		all[p.options.First+i] = p.sent[i].Load()
	}
	return all
}

// Close ends the link to Redis; a plan under way fails.
func (p *Publisher) Close() error {
	err := p.conn.Close()
	<-p.broken
	if err != nil {
		return fmt.Errorf("%w: close: %w", ErrRedis, err)
	}
	return nil
}

// Publish carries out a plan and returns when Redis has taken everything, or at
// the end of ctx, which is no error: the result then says how far it got.
func (p *Publisher) Publish(ctx context.Context, plan Plan) (Result, error) {
	if err := p.check(&plan); err != nil {
		return Result{}, err
	}
	p.running.Lock()
	defer p.running.Unlock()
	receivers := p.receivers.Load()
	began := time.Now()
	var result Result
	var err error
	if plan.Rate == 0 {
		err = p.burst(ctx, plan, began, &result)
	} else {
		err = p.paced(ctx, plan, began, &result)
	}
	if awaited := p.await(); err == nil {
		err = awaited
	}
	result.Began, result.Took = began, time.Since(began)
	result.Receivers = p.receivers.Load() - receivers
	result.Bytes = int64(result.Sent) * int64(plan.Size)
	return result, err
}

// add appends one PUBLISH to the buffer.
func (p *Publisher) add(plan Plan, intended int64) {
	i := p.turn % plan.Channels
	if p.turn++; plan.Order == Random {
		i = p.random.IntN(plan.Channels)
	}
	number := p.options.First + i
	before, after, each := strings.Cut(p.options.Channel, "%d")
	name := len(p.options.Prefix) + len(before) + len(after)
	if each {
		name += digits(number)
	}
	p.buf = append(p.buf, "*3\r\n$7\r\nPUBLISH\r\n$"...)
	p.buf = strconv.AppendInt(p.buf, int64(name), 10)
	p.buf = append(p.buf, '\r', '\n')
	p.buf = append(p.buf, p.options.Prefix...)
	p.buf = append(p.buf, before...)
	if each {
		p.buf = strconv.AppendInt(p.buf, int64(number), 10)
	}
	p.buf = append(p.buf, after...)
	p.buf = append(p.buf, "\r\n$"...)
	p.buf = strconv.AppendInt(p.buf, int64(plan.Size), 10)
	p.buf = append(p.buf, '\r', '\n')
	p.buf = AppendMessage(p.buf, Message{
		Sequence: p.sent[i].Add(1), Channel: uint32(number), Time: intended,
	}, plan.Size)
	p.buf = append(p.buf, '\r', '\n')
}

func digits(n int) int {
	d := 1
	for ; n > 9; n /= 10 {
		d++
	}
	return d
}

func (p *Publisher) flush(n int, result *Result) error {
	p.asked.Add(int64(n))
	if _, err := p.conn.Write(p.buf); err != nil {
		return fmt.Errorf("%w: publish: %w", ErrRedis, err)
	}
	result.Sent += n
	return nil
}

// await waits until Redis has answered everything.
func (p *Publisher) await() error {
	for p.answered.Load() < p.asked.Load() {
		select {
		case <-p.arrived:
		case <-p.broken:
			return p.err
		}
	}
	return nil
}

// read counts Redis's answers until the link ends.
func (p *Publisher) read() {
	defer close(p.broken)
	lines := bufio.NewReaderSize(p.conn, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			p.err = fmt.Errorf("%w: read: %w", ErrRedis, err)
			return
		}
		if line[0] != ':' {
			p.err = fmt.Errorf("%w: publish answered by %s", ErrRedis, bytes.TrimSpace(line))
			return
		}
		var n int64
		for _, c := range line[1:] {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + int64(c-'0')
		}
		p.receivers.Add(n)
		p.answered.Add(1)
		if lines.Buffered() == 0 {
			select {
			case p.arrived <- struct{}{}:
			default:
			}
		}
	}
}

func appendCommand(dst []byte, parts ...string) []byte {
	dst = fmt.Appendf(dst, "*%d\r\n", len(parts))
	for _, part := range parts {
		dst = fmt.Appendf(dst, "$%d\r\n%s\r\n", len(part), part)
	}
	return dst
}
