// Package fault makes a real redis-server and the link to it fail as they do in
// production: killed, restarted empty, paused, refusing, cut, half-open, slow.
package fault
