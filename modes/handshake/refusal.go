package handshake

import (
	"net/http"
	"strconv"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
)

// The refusals of the handshake's own rules, and of the engines.
var (
	RefusedNoEndpoint  = &admission.Refusal{Status: http.StatusNotFound, Reason: "no such endpoint"}
	RefusedChannel     = &admission.Refusal{Status: http.StatusBadRequest, Reason: "bad or missing channel"}
	RefusedReserved    = &admission.Refusal{Status: http.StatusForbidden, Reason: "channel reserved by redis"}
	RefusedChannels    = &admission.Refusal{Status: http.StatusBadRequest, Reason: "too many channels"}
	RefusedDraining    = &admission.Refusal{Status: http.StatusServiceUnavailable, Reason: "shutting down"}
	RefusedUnavailable = &admission.Refusal{Status: http.StatusServiceUnavailable, Reason: "redis not available"}
	RefusedBusy        = &admission.Refusal{Status: http.StatusServiceUnavailable, Reason: "too busy"}
	RefusedNoUpgrade   = &admission.Refusal{Status: http.StatusUpgradeRequired, Reason: "websocket upgrade required"}
	RefusedMethod      = &admission.Refusal{Status: http.StatusMethodNotAllowed, Reason: "method not allowed"}
	RefusedUpgrade     = &admission.Refusal{Status: http.StatusBadRequest, Reason: "bad handshake"}
	RefusedVersion     = &admission.Refusal{Status: http.StatusUpgradeRequired, Reason: "bad Sec-WebSocket-Version"}
	RefusedKey         = &admission.Refusal{Status: http.StatusBadRequest, Reason: "bad Sec-WebSocket-Key"}
	RefusedExtensions  = &admission.Refusal{Status: http.StatusBadRequest, Reason: "bad Sec-WebSocket-Extensions"}
	// RefusedBody is for a request that opens a connection and has a body, which
	// nobody would read.
	RefusedBody     = &admission.Refusal{Status: http.StatusBadRequest, Reason: "unexpected body"}
	RefusedTimeout  = &admission.Refusal{Status: http.StatusRequestTimeout, Reason: "handshake timeout"}
	RefusedNotHTTP  = &admission.Refusal{Status: http.StatusBadRequest, Reason: "not HTTP"}
	RefusedTooLarge = &admission.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "request too large"}

	RefusedNoToken      = &admission.Refusal{Status: http.StatusUnauthorized, Reason: "token required"}
	RefusedToken        = &admission.Refusal{Status: http.StatusUnauthorized, Reason: "invalid token"}
	RefusedTokenExpired = &admission.Refusal{Status: http.StatusUnauthorized, Reason: "token expired"}
	RefusedTokenEarly   = &admission.Refusal{Status: http.StatusUnauthorized, Reason: "token not yet valid"}
	RefusedPermission   = &admission.Refusal{Status: http.StatusForbidden, Reason: "permission denied"}
)

// Answer counts a refusal and answers a request with it.
func Answer(w http.ResponseWriter, r *http.Request, stats *modes.Stats, refusal *admission.Refusal) {
	if refusal.Status == http.StatusUpgradeRequired {
		// What would have been right: RFC 6455 section 4.4, RFC 9110 section
		// 15.5.22.
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Sec-WebSocket-Version", Version)
	}
	answer(w, r, stats.Refuse(refusal))
}

// RefuseStream is Answer to a request for a stream over HTTP, which scripts of other
// origins may read.
func RefuseStream(c *admission.Controller, stats *modes.Stats, w http.ResponseWriter, r *http.Request, refusal *admission.Refusal) {
	Share(c, w.Header(), r.Host, origin(r))
	answer(w, r, stats.Refuse(refusal))
}

// answer ends the connection with its answer: whoever is refused must not hold it
// for as long as others may wait for their next request. It goes on if another request
// would have been right.
func answer(w http.ResponseWriter, r *http.Request, refusal *admission.Refusal) {
	plain := ConnOf(r).Admitted()
	if again := refusal.Status == http.StatusUpgradeRequired || refusal.Status == http.StatusMethodNotAllowed; !again || plain.Refusal() != nil {
		plain.TurnAway()
		w.Header().Set("Connection", "close")
	}
	// The refusal may have been waited for. It is supported by every ResponseWriter
	// of NewServer.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
	http.Error(w, refusal.Error(), refusal.Status)
}

// Response returns the answer to a refused client that no ResponseWriter answers,
// with more header lines.
func Response(refusal *admission.Refusal, headers string) []byte {
	body := refusal.Error() + "\n"
	return []byte("HTTP/1.1 " + strconv.Itoa(refusal.Status) + " " + http.StatusText(refusal.Status) +
		"\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n" + headers +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// origin returns the request's origin; empty: it has none, or several.
func origin(r *http.Request) string {
	if origins := r.Header["Origin"]; len(origins) == 1 {
		return origins[0]
	}
	return ""
}
