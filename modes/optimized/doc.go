// Package optimized is the engine of event loops: the design of Sergey
// Kamardin's article "A Million WebSockets and Go", carried to today's limit.
//
// A loop owns its connections alone. Each is a small record without pointers in
// a slab; nothing else is held for one that is idle. What is unfinished, a
// message half received or frames half sent, hangs in a side table for as long
// as it lasts. Only a loop's own goroutine runs its iterations; every other
// goroutine, the bus's among them, reaches a loop through its inbox. Whatever
// writes to a connection may note that it has to end, and reap (end.go) is where
// connections end. Raw system calls are in package sys.
//
//	accept.go      new sockets
//	secure.go      TLS, in memory, by crypto/tls
//	shake.go       TLS handshakes, on goroutines
//	upgrade.go     the handshake, in memory, by gobwas/ws
//	stream.go      connections over HTTP
//	handover.go    requests that are no upgrade, to net/http
//	parser.go      frames and messages, from any cut of the bytes
//	input.go       what a readable connection leads to
//	peer.go        the connection as its session sees it
//	audience.go    who is subscribed to what
//	subscriptions.go  subscribing, and the bus's answers
//	fanout.go      publications to connections
//	outbox.go      what the kernel does not take yet
//	wheel.go       deadlines
//	end.go         how connections close
package optimized
