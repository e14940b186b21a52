// Package idiomatic is the engine that an experienced Go developer writes first:
// net/http upgrades, github.com/gorilla/websocket frames, a reader and a writer
// goroutine for every connection, and a bounded Go channel between the hub and
// each writer.
package idiomatic
