package admission

import "net/http"

// Refusal is why a client was not let in: the answer, and the metrics label. It is
// an error.
type Refusal struct {
	Status int
	Reason string
}

// Error returns the line that the client is answered with.
func (r *Refusal) Error() string { return r.Reason }

// The refusals of a Controller.
var (
	RefusedOrigin      = &Refusal{http.StatusForbidden, "origin not allowed"}
	RefusedFull        = &Refusal{http.StatusServiceUnavailable, "connection limit"}
	RefusedRate        = &Refusal{http.StatusServiceUnavailable, "connect rate limit"}
	RefusedMemory      = &Refusal{http.StatusServiceUnavailable, "memory limit"}
	RefusedAddressFull = &Refusal{http.StatusTooManyRequests, "connection limit of the address"}
	RefusedAddressRate = &Refusal{http.StatusTooManyRequests, "connect rate limit of the address"}
)
