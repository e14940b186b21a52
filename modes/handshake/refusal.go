package handshake

import (
	"net/http"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
)

// The refusals of the handshake's own rules, and of the engines.
var (
	RefusedNoEndpoint  = &admission.Refusal{Status: http.StatusNotFound, Reason: "no such endpoint"}
	RefusedChannel     = &admission.Refusal{Status: http.StatusBadRequest, Reason: "bad or missing channel"}
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
	RefusedTooLarge = &admission.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "request too large"}

	RefusedNoToken      = &admission.Refusal{Status: http.StatusUnauthorized, Reason: "token required"}
	RefusedToken        = &admission.Refusal{Status: http.StatusUnauthorized, Reason: "invalid token"}
	RefusedTokenExpired = &admission.Refusal{Status: http.StatusUnauthorized, Reason: "token expired"}
	RefusedPermission   = &admission.Refusal{Status: http.StatusForbidden, Reason: "permission denied"}
)

// Answer counts a refusal and answers a request with it.
func Answer(w http.ResponseWriter, stats *modes.Stats, refusal *admission.Refusal) {
	if refusal.Status == http.StatusUpgradeRequired {
		// What would have been right: RFC 6455 section 4.4, RFC 9110 section
		// 15.5.22.
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Sec-WebSocket-Version", Version)
	}
	http.Error(w, stats.Refuse(refusal).Error(), refusal.Status)
}
