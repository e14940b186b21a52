package modes

import (
	"sync/atomic"

	"github.com/centrifugal/protocol"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Stats is what an engine counts. The plain counters are for what happens per
// message; the vectors for what happens per connection. All of it may be used
// concurrently.
type Stats struct {
	// Connections is how many are open, by wire.Protocol.
	Connections [wire.Protocols]atomic.Int64
	// Subscriptions is how many confirmed subscriptions there are.
	Subscriptions atomic.Int64
	// Publications counts what the bus delivered, PublicationBytes its bytes.
	Publications, PublicationBytes atomic.Uint64
	// Repaired counts publications whose broken UTF-8 was replaced.
	Repaired atomic.Uint64
	// MessagesIn and BytesIn count what clients sent, FramesOut and BytesOut
	// the frames handed to the kernel or queued for it.
	MessagesIn, BytesIn, FramesOut, BytesOut atomic.Uint64
	// Deflated counts the publications that were compressed, once for each
	// protocol that wants one so; DeflateIn and DeflateOut are their bytes before
	// and after.
	Deflated, DeflateIn, DeflateOut atomic.Uint64
	// Gaps counts subscriptions whose clients were told that messages may have
	// been missed.
	Gaps atomic.Uint64
	// Queued is how many bytes wait for slow clients.
	Queued atomic.Int64

	// Accepted counts completed handshakes by protocol.
	Accepted *prometheus.CounterVec
	// Refused counts handshakes that did not complete, by reason.
	Refused *prometheus.CounterVec
	// Disconnected counts ended connections by reason.
	Disconnected *prometheus.CounterVec
	// Refusals counts commands that were answered with an error, by its message.
	Refusals *prometheus.CounterVec
	// Dropped counts frames that were queued or due and never sent, by reason.
	Dropped *prometheus.CounterVec
	// Overloads counts the times that accept had to cool down.
	Overloads prometheus.Counter
	// WriteLatency observes, in seconds, how long publications take from the
	// bus to the last write: not each of them, but each batch that an engine
	// writes together.
	WriteLatency prometheus.Histogram
	// HandshakeTime observes, in seconds, the time from a complete request to
	// its 101, or to the head of its stream over HTTP.
	HandshakeTime prometheus.Histogram
}

// Reasons of disconnects that no close frame of ours goes with.
const (
	ReasonClientClosed = "client closed"
	ReasonReset        = "connection reset"
	ReasonNoClose      = "ended without close"
)

// ReasonConnectionEnded is why frames were dropped that a connection had not
// taken when it ended.
const ReasonConnectionEnded = "connection ended"

// ReasonGone is why a handshake did not complete whose client went away.
const ReasonGone = "client gone"

// NewStats returns Stats with every counter at zero.
func NewStats() *Stats {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &Stats{
		Accepted:     vec("tandem_handshakes_total", "Completed WebSocket handshakes.", "protocol"),
		Refused:      vec("tandem_handshake_failures_total", "Handshakes that did not complete, by reason.", "reason"),
		Disconnected: vec("tandem_disconnects_total", "Ended connections, by reason.", "reason"),
		Refusals:     vec("tandem_command_errors_total", "Commands answered with an error, by reason.", "reason"),
		Dropped:      vec("tandem_dropped_frames_total", "Frames that were due to a connection and never sent, by reason.", "reason"),
		Overloads: prometheus.NewCounter(prometheus.CounterOpts{Name: "tandem_accept_cooldowns_total",
			Help: "Times that accepting paused because the workers were full or descriptors ran out."}),
		WriteLatency: prometheus.NewHistogram(LatencyHistogram("tandem_publish_to_write_seconds",
			"Time from the bus to the last write, observed once for each batch of publications.")),
		HandshakeTime: prometheus.NewHistogram(LatencyHistogram("tandem_handshake_seconds",
			"Time from a complete request to its 101, or the head of its stream.")),
	}
}

// Deflate returns a publication's frame for the connections that negotiated
// permessage-deflate, and counts what was compressed.
func (s *Stats) Deflate(plain wire.Frame) wire.Frame {
	frame, tried := plain.Deflate()
	if tried {
		s.Deflated.Add(1)
		s.DeflateIn.Add(uint64(len(plain)))
		s.DeflateOut.Add(uint64(len(frame)))
	}
	return frame
}

// Answered counts a reply if it is an error.
func (s *Stats) Answered(reply *protocol.Reply) {
	if reply.Error != nil {
		s.Refusals.WithLabelValues(reply.Error.Message).Inc()
	}
}

// Refuse counts a refusal and returns it.
func (s *Stats) Refuse(r *admission.Refusal) *admission.Refusal {
	s.Refused.WithLabelValues(r.Reason).Inc()
	return r
}

// TotalConnections is how many connections are open.
func (s *Stats) TotalConnections() int64 {
	var n int64
	for i := range s.Connections {
		n += s.Connections[i].Load()
	}
	return n
}

// Register makes everything in s visible to reg.
func (s *Stats) Register(reg prometheus.Registerer) {
	counter := func(name, help string, v *atomic.Uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(v.Load()) }))
	}
	gauge := func(name, help string, labels prometheus.Labels, v *atomic.Int64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(v.Load()) }))
	}
	for p := range wire.Protocols {
		gauge("tandem_connections", "Open connections.", prometheus.Labels{"protocol": p.String()}, &s.Connections[p])
	}
	gauge("tandem_subscriptions", "Confirmed subscriptions.", nil, &s.Subscriptions)
	gauge("tandem_queued_bytes", "Bytes waiting for slow clients.", nil, &s.Queued)
	counter("tandem_publications_total", "Publications received from Redis.", &s.Publications)
	counter("tandem_publication_bytes_total", "Payload bytes received from Redis.", &s.PublicationBytes)
	counter("tandem_publications_repaired_total", "Publications whose invalid UTF-8 was replaced.", &s.Repaired)
	counter("tandem_gap_unsubscribes_total", "Subscriptions ended because messages may have been missed.", &s.Gaps)
	counter("tandem_messages_in_total", "Messages received from clients.", &s.MessagesIn)
	counter("tandem_bytes_in_total", "Bytes received from clients.", &s.BytesIn)
	counter("tandem_frames_out_total", "Frames sent to clients.", &s.FramesOut)
	counter("tandem_bytes_out_total", "Bytes sent to clients.", &s.BytesOut)
	counter("tandem_deflated_frames_total", "Frames of publications that were compressed, each shared by its receivers.", &s.Deflated)
	counter("tandem_deflate_in_bytes_total", "Bytes of those frames before.", &s.DeflateIn)
	counter("tandem_deflate_out_bytes_total", "Bytes of those frames after.", &s.DeflateOut)
	reg.MustRegister(s.Accepted, s.Refused, s.Disconnected, s.Refusals, s.Dropped, s.Overloads, s.WriteLatency, s.HandshakeTime)
}
