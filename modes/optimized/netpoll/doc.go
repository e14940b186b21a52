// Package netpoll is epoll, and nothing else: changes in the readiness of raw
// descriptors, each known by a token of the caller's. Linux only.
package netpoll
