package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/redisbus"
)

// newHeartbeats returns the histogram of the time that heartbeats to Redis take.
func newHeartbeats() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(modes.LatencyHistogram("tandem_redis_heartbeat_seconds",
		"Time that heartbeats to Redis took."), []string{"link"})
}

// linkName is the label of a connection to Redis.
func linkName(link int) string {
	if link == redisbus.CommandLink {
		return commandLink
	}
	return strconv.Itoa(link)
}

// commandLink is the label of the connection that publishes; the Pub/Sub
// connections are numbered.
const commandLink = "command"

// busCollector exports the statistics of the bus. It reads them at each scrape.
type busCollector struct {
	stats func() modes.BusStats
	ready func() error

	up, linkUp, connects, roundTrip, channels, references, messages,
	lost, refused, refusedChannels, gaps, published, failed, queued, queuedBytes *prometheus.Desc
}

func newBusCollector(bus modes.Bus) *busCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tandem_redis_"+name, help, labels, nil)
	}
	return &busCollector{
		stats: bus.Stats, ready: bus.Ready,
		up:              desc("up", "Whether every connection to Redis works: 1 or 0."),
		linkUp:          desc("link_up", "Whether this connection to Redis works: 1 or 0.", "link"),
		connects:        desc("connects_total", "Times that this Pub/Sub connection was opened.", "link"),
		roundTrip:       desc("round_trip_seconds", "Time that the last heartbeat took.", "link"),
		channels:        desc("channels", "Channels that the node is subscribed to in Redis.", "link"),
		references:      desc("references", "Subscriptions of connections that share these channels.", "link"),
		messages:        desc("messages_total", "Messages received from Redis.", "link"),
		lost:            desc("lost_channels_total", "Channels on which messages may have been missed, counted each time.", "link"),
		refused:         desc("refused_subscriptions_total", "Subscriptions that Redis refused.", "link"),
		refusedChannels: desc("refused_channels", "Channels that connections are subscribed to and Redis refuses at present.", "link"),
		gaps:            desc("pending_gaps", "Channels that are not subscribed again yet after the connection broke.", "link"),
		published:       desc("published_total", "Messages of clients and of the server API that Redis accepted."),
		failed:          desc("publish_errors_total", "Messages of clients and of the server API that Redis did not accept."),
		queued:          desc("publish_queue_messages", "Messages that wait for Redis."),
		queuedBytes:     desc("publish_queue_bytes", "Bytes that wait for Redis."),
	}
}

// Describe implements prometheus.Collector.
func (c *busCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *busCollector) Collect(ch chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType) func(*prometheus.Desc, float64, ...string) {
		return func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
		}
	}
	gauge, counter := send(prometheus.GaugeValue), send(prometheus.CounterValue)

	stats := c.stats()
	gauge(c.up, oneIf(c.ready() == nil))
	for i, l := range stats.Links {
		link := linkName(i)
		gauge(c.linkUp, oneIf(l.State == modes.LinkUp), link)
		gauge(c.roundTrip, l.RoundTrip.Seconds(), link)
		gauge(c.channels, float64(l.Channels), link)
		gauge(c.references, float64(l.References), link)
		gauge(c.gaps, float64(l.PendingGaps), link)
		gauge(c.refusedChannels, float64(l.RefusedChannels), link)
		counter(c.connects, float64(l.Connects), link)
		counter(c.messages, float64(l.Publications), link)
		counter(c.lost, float64(l.LostChannels), link)
		counter(c.refused, float64(l.RefusedJoins), link)
	}
	gauge(c.linkUp, oneIf(stats.CommandLinkUp), commandLink)
	gauge(c.roundTrip, stats.CommandRoundTrip.Seconds(), commandLink)
	gauge(c.queued, float64(stats.QueuedPublishes))
	gauge(c.queuedBytes, float64(stats.QueuedPublishBytes))
	counter(c.published, float64(stats.Published))
	counter(c.failed, float64(stats.PublishErrors))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
