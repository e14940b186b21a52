// Package load is the load generator of compare: a process that opens WebSocket
// connections to a server, receives what it sends, and counts and times it. An
// orchestrator starts one or more such processes, controls them through their standard
// input and reads their standard output.
//
// It does little, so that the server is what is measured: one epoll loop over raw
// non-blocking sockets, pointer-free records of less than 150 bytes for a connection, one
// receive buffer for all of them, and no allocation for a message. It runs on Linux;
// elsewhere Serve returns ErrUnsupported.
//
// # The control protocol
//
// Standard input takes one JSON object a line, a [Command]; standard output has one
// JSON object a line, an [Answer]. Every command has an id, and so does its answer. A
// command that takes time (connect, disconnect, idle, publish with a count, settle) is
// answered when it is done; others may be sent meanwhile, so that a report is
// available while connections are being opened. The end of input means quit. The
// commands:
//
//	{"id":1,"cmd":"connect","n":10000,"rate":2000,"target":"127.0.0.1:8080",
//	 "protocol":"centrifuge","channel":"bench-%d","first":0}
//
// opens n connections and subscribes each, rate of them a second (0 means as fast as
// possible, window at a time), and is answered when each is subscribed or has failed.
// protocol is centrifuge (JSON, /connection/websocket), raw (/ws?channel=), floor (any
// first frame subscribes), or over plain HTTP sse (/sse?channel=) or stream
// (/stream?channel=); path overrides the request path. A channel without %d is shared
// by all; with %d each connection has the channel number first+i, modulo channels if
// that is set. from and sources set the source addresses on loopback (default
// 127.0.1.1, 8 addresses), rcvbuf the socket's receive buffer, segment its largest TCP
// segment, timeout_ms the deadline of one handshake (default 15,000). connect commands
// are carried out one after another.
//
//	{"id":2,"cmd":"idle","ms":5000}
//
// is answered after that time; messages are received meanwhile.
//
//	{"id":3,"cmd":"disconnect","n":500,"how":"close"}
//
// ends n connections (0 means all): close sends a close frame and waits up to 5 s for
// the server to end the connection (over HTTP it is drop), drop closes the socket,
// reset sends a TCP reset.
//
//	{"id":4,"cmd":"freeze","fraction":0.01}
//
// stops reading from that share of the subscribed connections, evenly spread; fraction
// 0 resumes all of them. Frozen ones are in the frozen count and take no part in
// settle.
//
//	{"id":5,"cmd":"publish","rate":100,"size":128,"count":1000}
//
// publishes from clients with the Centrifuge publish command: over one connection into
// a shared channel (so that the order is defined), or over all in turn, each into its
// own. Latency is measured from the intended time. With a count it is answered when
// all have been acknowledged, at most timeout_ms after the last was sent (default
// 5,000); rate 0 then sends them at once. Without a count it is answered at once and
// continues until the next publish command; rate 0 stops it. A channel must not be
// published to by clients and through Redis at the same time, because each counts
// separately.
//
//	{"id":6,"cmd":"churn","rate":50,"how":"close"}
//
// ends one connection and opens another on its channel, rate times a second, until
// rate 0.
//
//	{"id":7,"cmd":"mark","next":1}       or "next_each":[1,1,1,...]
//
// sets the next sequence number of the shared channel (or of every channel, or of each
// by number), so that a message lost before the first one received is counted too.
// Without mark a connection starts to count at the first message that it receives.
//
//	{"id":8,"cmd":"settle","last":1000,"timeout_ms":5000}       or "last_each":[...], or "own":true
//
// is answered when every subscribed connection has received everything up to that
// sequence number (own: up to what this process has published), or at the timeout
// (default 5,000), when missing messages count as lost (patient: they may still
// arrive). Frozen connections and those without a baseline take no part.
//
//	{"id":9,"cmd":"report"}
//
// is answered at once; besides the totals the answer has an interval: what happened
// since the last report.
//
//	{"id":10,"cmd":"awake","ms":50}
//
// makes the process poll for that long after a message, at the lowest priority, before
// it sleeps. On loopback a server's write lasts until the receiver is woken; that cost
// is the receiver's, and on a virtual machine, where an idle CPU is woken through the
// host, it is a good part of a write.
//
//	{"id":11,"cmd":"quit"}
//
// closes everything and ends the process after an answer.
//
// # The answer
//
// Every answer has the state of the process: connections by state, failed ones by
// reason, ended ones by close code, counters, latency histograms, CPU, busy share,
// memory. See [Answer]. Histograms are HdrHistogram V2 compressed, base64, in
// nanoseconds; merge them with [Merge], and never average percentiles.
//
// # Lost, duplicated, reordered
//
// Sequence numbers count from 1 in each channel (package workload). For each
// connection the highest number seen and a window of the 64 before it are kept. A
// number above the next one makes those in between lost; one of them that arrives
// later is reordered and no longer lost; one seen before is duplicated. A number older
// than the window counts as reordered and stays lost. A message with another channel's
// number is misrouted; one that arrives before the reply to its subscription is early.
//
// # When the load is the bottleneck
//
// Busy is the share of wall time in which the loop was not waiting for events. Above
// 0.9 ([Answer.Saturated]) latencies describe this process rather than the server: use
// more load processes or more CPUs.
package load
