// Package fault makes a real redis-server and the way to it fail as they do in
// production: killed, restarted empty, paused, refusing, cut off in the middle,
// half-open, slow.
package fault
