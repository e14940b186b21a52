package load

import (
	"encoding/base64"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Answer is one line of a load process's output: the reply to the command with
// the same id, and the state of the process at that moment.
type Answer struct {
	ID  int    `json:"id"`
	Cmd string `json:"cmd"`
	// Error is empty if the command was carried out.
	Error string `json:"error,omitempty"`
	// Time is when the state was taken, nanoseconds since 1970.
	Time int64 `json:"time"`

	// Connecting, Connected, Subscribed and Frozen are numbers of connections
	// now: handshakes under way; those upgraded; of these, those with a
	// confirmed subscription; of these, those not being read.
	Connecting int `json:"connecting"`
	Connected  int `json:"connected"`
	Subscribed int `json:"subscribed"`
	Frozen     int `json:"frozen"`

	// Failed counts connections that were never subscribed, by reason.
	Failed map[string]uint64 `json:"failed"`
	// Closed counts connections that ended later: by the server's close code, "eof"
	// (no close frame), "reset", "local" (ended by this process), or a violation of
	// the protocol by the server.
	Closed map[string]uint64 `json:"closed"`

	// Total counts since the start of the process.
	Total Counters `json:"total"`
	// Latency of all messages delivered since the start.
	Latency Histogram `json:"latency"`
	// ConnectTime is from the intended start of each connection to its
	// subscription, since the start.
	ConnectTime Histogram `json:"connect_time"`
	// Interval is what happened since the last report; only on report.
	Interval *Interval `json:"interval,omitempty"`

	// UserMicros and SysMicros are CPU used by this process, microseconds.
	UserMicros int64 `json:"user_us"`
	SysMicros  int64 `json:"sys_us"`
	// Busy is the share of wall time since the last report in which the loop
	// was not waiting for events.
	Busy float64 `json:"busy"`
	// RSS and PSS of this process in bytes; 0 if the kernel does not provide them.
	RSS uint64 `json:"rss"`
	PSS uint64 `json:"pss"`
}

// Saturated reports whether the load process itself was (close to) the limit since
// the last report, so that latencies tell little about the server.
func (a *Answer) Saturated() bool { return a.Busy > 0.9 }

// FailedTotal returns the sum over all reasons.
func (a *Answer) FailedTotal() uint64 { return sum(a.Failed) }

// ClosedTotal returns the sum over all causes.
func (a *Answer) ClosedTotal() uint64 { return sum(a.Closed) }

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// Interval is what happened between two reports.
type Interval struct {
	Seconds float64 `json:"seconds"`
	Counters
	Latency    Histogram `json:"latency"`
	UserMicros int64     `json:"user_us"`
	SysMicros  int64     `json:"sys_us"`
}

// Counters count what connections received and sent. They are signed because a message
// that was lost in one interval may arrive, reordered, in the next.
type Counters struct {
	// Delivered counts messages with a valid payload, Bytes what was read from
	// the sockets (frames and handshakes), Reads the receive calls.
	Delivered int64 `json:"delivered"`
	Bytes     int64 `json:"bytes"`
	Reads     int64 `json:"reads"`
	// Lost, Duplicated, Reordered and Misrouted: see the package documentation.
	Lost       int64 `json:"lost"`
	Duplicated int64 `json:"duplicated"`
	Reordered  int64 `json:"reordered"`
	Misrouted  int64 `json:"misrouted"`
	// Early counts messages that arrived before the reply to their subscription.
	Early int64 `json:"early"`
	// Unknown counts messages without a payload of package workload.
	Unknown int64 `json:"unknown"`
	// Pings counts the server's pings, of either layer; each was answered.
	Pings int64 `json:"pings"`
	// Resubscribed counts subscriptions that the server ended and that were requested
	// again.
	Resubscribed int64 `json:"resubscribed"`
	// Churned counts connections replaced by churn.
	Churned int64 `json:"churned"`
	// Published counts publish commands, Acknowledged and Refused their replies, and
	// Unsent those that no connection could send.
	Published    int64 `json:"published"`
	Acknowledged int64 `json:"acknowledged"`
	Refused      int64 `json:"refused"`
	Unsent       int64 `json:"unsent"`
}

// Add adds o to c.
func (c *Counters) Add(o Counters) { c.each(o, 1) }

// Minus returns what c has counted beyond o.
func (c Counters) Minus(o Counters) Counters {
	c.each(o, -1)
	return c
}

func (c *Counters) each(o Counters, sign int64) {
	c.Delivered += sign * o.Delivered
	c.Bytes += sign * o.Bytes
	c.Reads += sign * o.Reads
	c.Lost += sign * o.Lost
	c.Duplicated += sign * o.Duplicated
	c.Reordered += sign * o.Reordered
	c.Misrouted += sign * o.Misrouted
	c.Early += sign * o.Early
	c.Unknown += sign * o.Unknown
	c.Pings += sign * o.Pings
	c.Resubscribed += sign * o.Resubscribed
	c.Churned += sign * o.Churned
	c.Published += sign * o.Published
	c.Acknowledged += sign * o.Acknowledged
	c.Refused += sign * o.Refused
	c.Unsent += sign * o.Unsent
}

// Clean reports whether every message arrived once, in order, at the right place
// and not before its subscription was confirmed.
func (c *Counters) Clean() bool {
	return c.Lost == 0 && c.Duplicated == 0 && c.Reordered == 0 && c.Misrouted == 0 && c.Early == 0
}

// Histogram is an HdrHistogram of nanoseconds, V2 compressed, base64.
type Histogram string

const (
	lowestLatency  = 1000            // ns
	highestLatency = 120_000_000_000 // ns
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowestLatency, highestLatency, 3)
}

func encode(h *hdrhistogram.Histogram) (Histogram, error) {
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("load: encode histogram: %w", err)
	}
	return Histogram(b), nil
}

// Decode returns the histogram; an empty string is an empty histogram.
func (h Histogram) Decode() (*hdrhistogram.Histogram, error) {
	if h == "" {
		return newHistogram(), nil
	}
	d, err := hdrhistogram.Decode([]byte(h))
	if err != nil {
		return nil, fmt.Errorf("load: decode histogram of %d bytes: %w", base64.StdEncoding.DecodedLen(len(h)), err)
	}
	return d, nil
}

// Merge adds up histograms of several processes or intervals.
func Merge(parts ...Histogram) (*hdrhistogram.Histogram, error) {
	all := newHistogram()
	for _, p := range parts {
		d, err := p.Decode()
		if err != nil {
			return nil, err
		}
		if dropped := all.Merge(d); dropped > 0 {
			return nil, fmt.Errorf("load: merge histograms: %d values out of range", dropped)
		}
	}
	return all, nil
}
