// Package live shows what both modes cost while they run: it starts a server of
// each mode side by side, gives both the same load, and serves a page on
// loopback that shows their figures every second and changes the load.
//
// Every program is a process of its own: two servers, a load process (package
// load) for each, and one redis-server that both servers are subscribed to, so
// that both get the same messages at the same moment. This process publishes,
// samples and serves the page. Where there are enough CPUs, each gets its own.
//
// What the figures mean:
//
//   - memory is the server process's PSS; for one connection it is what lies
//     above the PSS before the first connection;
//   - CPU is user and system time of the server process, 100 being one CPU;
//   - latency is from the intended moment of publication to the arrival in the
//     load process, from histograms that are merged, never averaged;
//   - lost messages are gaps in the sequence numbers of a channel that a
//     connection has seen.
//
// Both modes share a machine here, and so disturb each other. That is good
// enough to look at, and is not how compare run measures.
package live
