package redisbus

import (
	"time"

	"github.com/tandem-ws/tandem/modes"
)

// Stats returns a snapshot. It takes each lock only for a moment, and is cheap
// enough to be called for every scrape.
func (b *Bus) Stats() modes.BusStats {
	stats := modes.BusStats{
		CommandLinkUp:    b.publisher.mayPublish.Load(),
		CommandRoundTrip: time.Duration(b.publisher.roundTrip.Load()),
		Published:        b.publisher.published.Load(),
		PublishErrors:    b.publisher.failures.Load(),
		Links:            make([]modes.LinkStats, len(b.links)),
	}
	stats.QueuedPublishes, stats.QueuedPublishBytes = b.publisher.queued()
	for i, l := range b.links {
		stats.Links[i] = l.stats()
	}
	return stats
}

func (l *link) stats() modes.LinkStats {
	stats := modes.LinkStats{
		State:        modes.LinkState(l.state.Load()),
		Connects:     l.connects.Load(),
		RoundTrip:    time.Duration(l.roundTrip.Load()),
		Publications: l.received.Load(),
		LostChannels: l.lost.Load(),
		RefusedJoins: l.rejected.Load(),
	}
	stats.Channels, stats.References, stats.PendingGaps = l.channels.size()
	stats.RefusedChannels, _, _ = l.channels.refusals()
	stats.LastDownCause = textOf(l.health.get())
	return stats
}
