// Package workload is what servers are loaded with: messages and their publication.
//
// # Messages
//
// The body of every message is a JSON object of fixed-width fields, so that a
// receiver finds sequence number, intended send time and channel at known offsets
// and parses them without scanning:
//
//	{"s":1000000001,"t":1764000000000000000,"c":10000042,"p":"xxxx"}
//
// JSON does not allow leading zeros, so numbers of fixed width start at a base: s is
// the base plus the sequence number (1, 2, 3 ... in each channel), c is another base
// plus the number of the channel, and t is the intended send time in nanoseconds
// since 1970, which has 19 digits until 2286. p fills the message up to its size.
//
// # Publication
//
// Messages are published to Redis on a schedule that does not wait (open loop), over
// one raw TCP connection, with pipelined PUBLISH commands: neither a Redis client
// library nor a publisher that waits for replies is part of what is measured.
package workload
