// Package redisbus is the bus: it subscribes this node to channels in Redis over
// Pub/Sub, feeds what is published to them to a receiver, and publishes. It is
// the only package that knows Redis.
//
// # What holds
//
// Subscribe counts references and calls back once Redis has confirmed the channel:
// every PUBLISH that Redis executes from then on reaches the receiver, in order,
// for as long as the link lives. A Subscribe that waits costs an entry in two lists;
// one goroutine with one timer sees to those that wait too long. Redis Pub/Sub is at
// most once: what is published while the link is down is gone. When a link breaks the bus reconnects by
// itself, pausing a little longer each time, subscribes again to everything that
// has references, in batches, and reports each of those channels as lost,
// once for each break, before the first later publication of the channel.
// Meanwhile Ready says why it is not, and Subscribe fails with ErrNotConnected, as
// do the calls that were waiting.
//
// SUBSCRIBE and UNSUBSCRIBE are batched: while Redis answers one command, what
// comes in is collected for the next, up to 512 channels. Thousands of clients
// that subscribe at the same moment cost a handful of round trips.
//
// # What is known of the link
//
// A heartbeat proves that messages flow, not only that something answers. Every
// HeartbeatInterval each connection sends a PING, and ROLE behind it: a server that
// is no master, or has ceased to be one, is of no use, for what is published there
// reaches nobody else. The command link publishes a probe, on a channel of the
// node's own under the prefix, which has to come back on every Pub/Sub link; one
// that does not get it leads to another Redis. A name in the URL is looked up for
// each connection, and with each heartbeat; the command link makes a new connection
// after ten heartbeats, so that an address that has come to lead elsewhere is noticed
// although the connections made before live on. A link that fails any of this is given up
// within HeartbeatInterval + HeartbeatTimeout, 6 s by default, and all its
// channels are reported as lost once it is back. What is published has ROLE behind
// it in the same pipeline: an error if the server is not a master.
//
// An answer that is late because a burst of publications stands before it is no
// reason to give up the link, as long as they keep coming, for twenty times
// HeartbeatTimeout: a minute. They may pause meanwhile, for about as long as they
// have been coming: that is how TCP goes on after a window has opened unheard.
//
// With Sentinel the URL names sentinels. All of them are asked for each connection,
// and with each heartbeat; the newest configuration counts, and a minority that has not
// heard of a failover does not lead back. A subscription to +switch-master at one of
// them brings the news in between. Once a new master is known, every connection
// to another server is given up, and nothing is published to it.
//
// A server that does not answer ROLE is judged by the probe alone, and one that
// refuses the probe by the rest; the log says so once.
//
// There is no such thing as a slow receiver: Deliver hands over and returns, by
// contract. A receiver that blocks holds up every channel of the link; Redis
// then queues up to its client-output-buffer-limit for Pub/Sub clients (8 MB for
// a minute, 32 MB) and cuts the link, which is reported like any other break.
//
// # What it costs
//
// A channel costs 75 to 125 B of memory, its name of 24 B included; how full the
// map is makes the difference (BenchmarkChannelMemory). The bus makes no copy of
// a channel's name to keep. A link costs about 100 KB and two goroutines, the
// command link as much.
//
// go-redis parses the URL. What comes over a Pub/Sub connection is parsed here, from
// the buffer that it was read into (conn.receive): a publication in a
// burst costs 0.12 us of CPU and no allocation, where go-redis's PubSub takes 0.65
// us and nine (BenchmarkReceive). Where each wakes the process up, as at 2,000 a
// second, it costs 10 to 18 us either way, nearly all of it the kernel's and the Go
// scheduler's for waiting and waking (BenchmarkReceivePaced; see directConn for
// how it comes to be no more). RESP3 is spoken, or RESP2 if the server has
// no HELLO; there is no deadline to be set for each message.
//
// # What it does not do
//
// Redis Cluster and sharded Pub/Sub are not supported: a URL names one Redis, or
// the sentinels of one. Of the URL's parameters, those for timeouts other than dial_timeout,
// pool and protocol are overridden. A user with restricted rights needs PING,
// SUBSCRIBE, UNSUBSCRIBE, PUBLISH, HELLO, ROLE and SELECT, the channels, and those of
// the probe (tandem.probe.* under the prefix); a channel
// that Redis refuses fails the Subscribe calls for that channel alone. If it refuses
// one that is held, after a break or a change of rights, the channel is reported as
// lost, asked for again after pauses that double up to half a minute, and reported
// once more when Redis allows it; Ready names it meanwhile.
package redisbus
