package session

import "time"

// Tokens expire by the wall clock, for their issuer has no other. A session looks at
// that clock once, when it takes a token, and measures what remains on the monotonic
// clock. So setting the wall clock later neither ends what tokens allow nor extends it.

// Deadline returns the moment at which expires, in seconds of Unix time, will be
// reached, on now's monotonic clock; the zero time if expires is 0, which is never.
func Deadline(now time.Time, expires int64) time.Time {
	if expires == 0 {
		return time.Time{}
	}
	// Sub uses the wall clock, because time.Unix has no other.
	return now.Add(time.Unix(expires, 0).Sub(now))
}

// instant is a moment on the monotonic clock in a third of a time.Time's size.
type instant int64

// never is the instant that does not come.
const never instant = 0

// processStart is what instants are relative to.
var processStart = time.Now()

// instantOf returns the instant of t, and never for the zero time.
func instantOf(t time.Time) instant {
	if t.IsZero() {
		return never
	}
	if i := instant(t.Sub(processStart)); i != never {
		return i
	}
	return never + 1
}

// time is the inverse of instantOf.
func (i instant) time() time.Time {
	if i == never {
		return time.Time{}
	}
	return processStart.Add(time.Duration(i))
}

// seconds returns how many whole seconds lie between the start of the process and t.
func seconds(t time.Time) int64 { return int64(t.Sub(processStart) / time.Second) }
