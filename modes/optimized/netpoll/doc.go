// Package netpoll is epoll, and nothing else: level-triggered readiness of raw
// descriptors, each known by a token of the caller's. Linux only.
package netpoll
