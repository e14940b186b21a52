// Package live shows what both modes cost while they run: it starts a server of each
// mode, puts both under the same load, and serves a page on loopback that shows their
// figures every second and changes the load.
//
// Every program is a process of its own: two servers, a load process (package load)
// for each, and one redis-server that both servers are subscribed to, so that both
// receive the same messages at the same moment. This process publishes, takes samples
// and serves the page. If there are enough CPUs, each gets its own.
//
// Figures:
//
// - Memory is the PSS of the server process. For one connection it is the increase
// over the PSS before the first connection.
// - CPU is user and system time of the server process; 100 means one CPU.
// - Latency is measured from the intended moment of publication to the arrival in the
// load process, with histograms that are merged, never averaged.
// - Lost messages are gaps in the sequence numbers of a channel.
//
// Both modes share a machine and disturb each other: this is a demonstration. compare
// run measures them one at a time.
package live
