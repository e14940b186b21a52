package redisbus

import "time"

// Stats is a snapshot of a Bus. What counts, counts since New.
type Stats struct {
	Links []LinkStats // one for each Pub/Sub connection

	CommandLinkUp      bool
	CommandRoundTrip   time.Duration // of the last PING on the command link
	Published          uint64        // publications that Redis has accepted
	PublishErrors      uint64        // publications that it has not, for whatever reason
	QueuedPublishes    int           // accepted by Publish, done not called yet
	QueuedPublishBytes int
}

// LinkStats is a snapshot of one Pub/Sub connection.
type LinkStats struct {
	State         LinkState
	Connects      uint64        // successful ones; reconnects are one less
	RoundTrip     time.Duration // of the last heartbeat, through the reader
	Channels      int           // subscribed, lingering or about to be
	References    int           // held by Subscribe calls
	Publications  uint64        // received
	LostChannels  uint64        // channels reported as lost, each time counted
	RefusedJoins  uint64        // subscriptions that Redis refused
	PendingGaps   int           // channels not yet subscribed again after a break
	LastDownCause string        // empty while the link is up
}

// Stats returns a snapshot. It takes each lock only for a moment, and is cheap
// enough to be called for every scrape.
func (b *Bus) Stats() Stats {
	stats := Stats{
		CommandLinkUp:    b.publisher.mayPublish.Load(),
		CommandRoundTrip: time.Duration(b.publisher.roundTrip.Load()),
		Published:        b.publisher.published.Load(),
		PublishErrors:    b.publisher.failures.Load(),
		Links:            make([]LinkStats, len(b.links)),
	}
	stats.QueuedPublishes, stats.QueuedPublishBytes = b.publisher.queued()
	for i, l := range b.links {
		stats.Links[i] = l.stats()
	}
	return stats
}

func (l *link) stats() LinkStats {
	stats := LinkStats{
		State:        LinkState(l.state.Load()),
		Connects:     l.connects.Load(),
		RoundTrip:    time.Duration(l.roundTrip.Load()),
		Publications: l.received.Load(),
		LostChannels: l.lost.Load(),
		RefusedJoins: l.rejected.Load(),
	}
	stats.Channels, stats.References, stats.PendingGaps = l.channels.size()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.downReason != nil {
		stats.LastDownCause = l.downReason.Error()
	}
	return stats
}
