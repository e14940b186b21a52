package load

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// Sentinels that callers can tell apart.
var (
	// ErrUnsupported means that the load generator does not run on this system.
	ErrUnsupported = errors.New("load: the load generator needs Linux (epoll)")
	// ErrCommand means that a command is invalid; nothing was done.
	ErrCommand = errors.New("load: bad command")
)

// Names of the protocols that a connection can speak.
const (
	Centrifuge = "centrifuge"
	Raw        = "raw"
	Floor      = "floor"
	SSE        = "sse"
	Stream     = "stream"
)

// Names of the commands; see the package documentation.
const (
	Connect    = "connect"
	Idle       = "idle"
	Awake      = "awake"
	Disconnect = "disconnect"
	Freeze     = "freeze"
	Publish    = "publish"
	Churn      = "churn"
	Mark       = "mark"
	Settle     = "settle"
	Report     = "report"
	Quit       = "quit"
)

// Ways to end a connection.
const (
	Close = "close" // close frame, then wait for the server
	Drop  = "drop"  // close the socket
	Reset = "reset" // TCP reset
)

const (
	maxChannelName  = 64
	defaultFrom     = "127.0.1.1"
	defaultSources  = 8
	defaultWindow   = 256
	defaultDialTime = 15000
	maxPublishSize  = 1 << 20
	minSegment      = 88 // what Linux takes for TCP_MAXSEG
	maxSegment      = 32767
)

// Command is one line of a load process's input. Fields that the package documentation
// does not mention for its Cmd are ignored.
type Command struct {
	ID  int    `json:"id"`
	Cmd string `json:"cmd"`

	// N is a number of connections.
	N int `json:"n,omitempty"`
	// Rate is connections, publications or replacements a second.
	Rate float64 `json:"rate,omitempty"`
	// Target is the server's address, host:port or ws://host:port[/path].
	Target string `json:"target,omitempty"`
	// Protocol is Centrifuge (also when empty), Raw, Floor, SSE or Stream.
	Protocol string `json:"protocol,omitempty"`
	// Path overrides the protocol's request path.
	Path string `json:"path,omitempty"`
	// Channel is the channel's name; %d stands for the channel's number and gives each
	// connection its own.
	Channel string `json:"channel,omitempty"`
	// First is the channel number of the first connection.
	First int `json:"first,omitempty"`
	// Channels is the number of channels that %d cycles through. 0 gives each
	// connection its own, which publish needs.
	Channels int `json:"channels,omitempty"`
	// From is the first source address on loopback, and Sources is how many follow it.
	From    string `json:"from,omitempty"`
	Sources int    `json:"sources,omitempty"`
	// Window limits simultaneous handshakes.
	Window int `json:"window,omitempty"`
	// Rcvbuf is SO_RCVBUF in bytes; 0 means the kernel's choice.
	Rcvbuf int `json:"rcvbuf,omitempty"`
	// Segment is the largest TCP segment in bytes that a connection accepts; 0 means
	// the kernel's choice: 64 KB on loopback, for which the server's kernel reserves
	// megabytes of send buffer, unlike the 50 KB for a network's 1,460.
	Segment int `json:"segment,omitempty"`
	// TimeoutMS limits one handshake (connect) or the wait (settle), in milliseconds.
	TimeoutMS int `json:"timeout_ms,omitempty"`
	// MS is the duration of idle, or of awake, in milliseconds.
	MS int `json:"ms,omitempty"`
	// How is Close (also when empty), Drop or Reset.
	How string `json:"how,omitempty"`
	// Fraction of the subscribed connections, 0 to 1.
	Fraction float64 `json:"fraction,omitempty"`
	// Size of a published payload in bytes.
	Size int `json:"size,omitempty"`
	// Count of publications; 0 means without end.
	Count int `json:"count,omitempty"`
	// Next and NextEach are sequence numbers for mark.
	Next     uint32   `json:"next,omitempty"`
	NextEach []uint32 `json:"next_each,omitempty"`
	// Last and LastEach are sequence numbers for settle.
	Last     uint32   `json:"last,omitempty"`
	LastEach []uint32 `json:"last_each,omitempty"`
	// Own makes settle wait for what this process published with publish.
	Own bool `json:"own,omitempty"`

	// Patient makes settle write off nothing at its timeout.
	Patient bool `json:"patient,omitempty"`

	problem error // what is wrong with the command, to be answered
}

func bad(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrCommand, fmt.Sprintf(format, a...))
}

// check fills in defaults and returns an error if c is invalid.
func (c *Command) check() error {
	if c.Rate < 0 || c.Rate > 1e8 || c.Rate != c.Rate {
		return bad("%s: rate %g is not between 0 and 1e8 a second", c.Cmd, c.Rate)
	}
	if c.N < 0 {
		return bad("%s: n %d is negative", c.Cmd, c.N)
	}
	if c.TimeoutMS < 0 || c.MS < 0 {
		return bad("%s: a negative time", c.Cmd)
	}
	switch c.How {
	case "":
		c.How = Close
	case Close, Drop, Reset:
	default:
		return bad("%s: unknown how %q: use close, drop or reset", c.Cmd, c.How)
	}
	switch c.Cmd {
	case Connect:
		return c.checkConnect()
	case Freeze:
		if !(c.Fraction >= 0 && c.Fraction <= 1) {
			return bad("freeze: fraction %g is not between 0 and 1", c.Fraction)
		}
	case Publish:
		if c.Size == 0 {
			c.Size = 128
		}
		if c.Size < 0 || c.Size > maxPublishSize || c.Count < 0 {
			return bad("publish: size %d or count %d is out of bounds", c.Size, c.Count)
		}
	case Mark:
		if c.Next == 0 && len(c.NextEach) == 0 {
			return bad("mark: next or next_each is missing: numbers count from 1")
		}
	case Idle, Awake, Disconnect, Churn, Settle, Report, Quit:
	default:
		return bad("unknown command %q", c.Cmd)
	}
	return nil
}

func (c *Command) checkConnect() error {
	if c.N == 0 {
		return bad("connect: n is missing: say how many connections")
	}
	if rest, ok := strings.CutPrefix(c.Target, "ws://"); ok {
		host, path, found := strings.Cut(rest, "/")
		c.Target = host
		if found && c.Path == "" {
			c.Path = "/" + path
		}
	}
	if _, _, err := net.SplitHostPort(c.Target); err != nil {
		return bad("connect: target %q is neither host:port nor a ws:// address", c.Target)
	}
	if c.Channel == "" {
		c.Channel = "bench"
	}
	if len(c.Channel) > maxChannelName || strings.ContainsAny(c.Channel, "\"\\ \r\n&#?") {
		return bad("connect: channel %q is longer than %d bytes or needs escaping", c.Channel, maxChannelName)
	}
	if strings.Count(c.Channel, "%") > 1 || strings.Contains(c.Channel, "%") && !strings.Contains(c.Channel, "%d") {
		return bad("connect: channel %q may hold one %%d and no other %%", c.Channel)
	}
	if c.First < 0 || c.First+c.N > 9e7 {
		return bad("connect: channel numbers from %d for %d are out of bounds", c.First, c.N)
	}
	switch c.Protocol {
	case "":
		c.Protocol = Centrifuge
	case Centrifuge, Raw, Floor, SSE, Stream:
	default:
		return bad("connect: unknown protocol %q: use centrifuge, raw, floor, sse or stream", c.Protocol)
	}
	if strings.ContainsAny(c.Path, " \r\n") {
		return bad("connect: path %q holds a space or line end", c.Path)
	}
	if c.From == "" {
		c.From = defaultFrom
	}
	if ip := net.ParseIP(c.From).To4(); ip == nil {
		return bad("connect: from %q is not an IPv4 address", c.From)
	}
	if c.Sources == 0 {
		c.Sources = defaultSources
	}
	if c.Segment != 0 && (c.Segment < minSegment || c.Segment > maxSegment) {
		return bad("connect: segment %d is not between %d and %d", c.Segment, minSegment, maxSegment)
	}
	if c.Sources < 0 || c.Window < 0 || c.Rcvbuf < 0 || c.Channels < 0 {
		return bad("connect: sources, window, rcvbuf and channels may not be negative")
	}
	if c.Window == 0 {
		c.Window = defaultWindow
	}
	if c.TimeoutMS == 0 {
		c.TimeoutMS = defaultDialTime
	}
	return nil
}
