// Package handshake is the HTTP side that both engines share: the rules of RFC 6455
// section 4, the refusals, and what a stream over HTTP begins with.
package handshake

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/tandem-ws/tandem/modes/admission"
)

// Version is the version of the protocol, in Sec-WebSocket-Version (RFC 6455
// section 4.1).
const Version = "13"

// Check applies RFC 6455 section 4.2.1 to a request for a WebSocket
// endpoint, as far as net/http has not; nil: it is a good handshake.
func Check(r *http.Request) *admission.Refusal {
	if r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || !HasToken(r.Header["Upgrade"], "websocket") {
		return RefusedNoUpgrade
	}
	versions, keys := r.Header["Sec-Websocket-Version"], r.Header["Sec-Websocket-Key"]
	switch {
	case !HasToken(r.Header["Connection"], "upgrade"), len(versions) == 0, !ValidHost(r.Host):
		return RefusedUpgrade
	case len(r.Header["Origin"]) > 1:
		return admission.RefusedOrigin
	case r.ContentLength != 0:
		// Its bytes could be taken for frames.
		return RefusedBody
	case len(versions) != 1 || versions[0] != Version:
		return RefusedVersion
	case len(keys) != 1 || !ValidKey([]byte(keys[0])):
		return RefusedKey
	}
	return nil
}

// CheckStream applies what a request for a stream over HTTP must obey, as far as
// net/http has not; nil: it does.
func CheckStream(r *http.Request) *admission.Refusal {
	switch {
	case len(r.Header["Origin"]) > 1:
		// RFC 6454 section 7.3; which of them a proxy or a filter looks at is open.
		return admission.RefusedOrigin
	case r.ContentLength != 0:
		return RefusedBody
	}
	return nil
}

// ValidHost reports whether a Host header names a host, in the characters that RFC
// 3986 section 3.2 lets an authority have.
func ValidHost[T string | []byte](host T) bool {
	for i := range len(host) {
		b := host[i]
		letter := b|0x20 >= 'a' && b|0x20 <= 'z'
		if !letter && (b < '0' || b > '9') && strings.IndexByte("-._~!$&'()*+,;=:[]%", b) < 0 {
			return false
		}
	}
	return len(host) > 0
}

// ValidKey reports whether a Sec-WebSocket-Key is 16 bytes in base64.
func ValidKey(key []byte) bool {
	var decoded [24]byte
	// A key of the right length decodes into the room there is.
	if base64.StdEncoding.DecodedLen(len(key)) > len(decoded) {
		return false
	}
	n, err := base64.StdEncoding.Decode(decoded[:], key)
	return err == nil && n == 16
}

// HasToken reports whether a token, in any case, is in header values that are lists (RFC
// 9110 section 5.6.1).
func HasToken(values []string, token string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
