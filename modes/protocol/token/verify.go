package token

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// Leeway is how far ahead of this machine's clock the nbf and iat of a token may be,
// because the clocks of two machines differ.
const Leeway = time.Minute

// Verify implements session.Verifier.
func (v *Verifier) Verify(token string) (session.Claims, error) {
	c, err := v.verify(token)
	switch {
	case errors.Is(err, session.ErrTokenExpired), errors.Is(err, session.ErrTokenNotYetValid):
		return session.Claims{}, err
	case err != nil:
		return session.Claims{}, fmt.Errorf("%w: %w", session.ErrTokenInvalid, err)
	}
	return c, nil
}

func (v *Verifier) verify(token string) (session.Claims, error) {
	if len(token) > session.MaxTokenLength {
		return session.Claims{}, fmt.Errorf("longer than %d bytes", session.MaxTokenLength)
	}
	// RFC 7515 section 3.1: a header, the claims and a signature.
	last := strings.LastIndexByte(token, '.')
	if last < 0 || strings.Count(token, ".") != 2 {
		return session.Claims{}, errors.New("not three parts")
	}
	signed, first := token[:last], strings.IndexByte(token, '.')
	signature, err := decode(token[last+1:])
	if err != nil {
		return session.Claims{}, fmt.Errorf("signature: %w", err)
	}
	h, err := parseHeader(token[:first])
	if err != nil {
		return session.Claims{}, fmt.Errorf("header: %w", err)
	}
	if err := v.verifySignature(&h, signed, signature); err != nil {
		return session.Claims{}, err
	}
	c, err := parseClaims(token[first+1 : last])
	if err != nil {
		return session.Claims{}, fmt.Errorf("claims: %w", err)
	}
	return c.valid(v.now())
}

// verifySignature verifies a signature with the secret or keys that are for the
// header's algorithm and key id.
func (v *Verifier) verifySignature(h *header, signed string, signature []byte) error {
	method := jwt.GetSigningMethod(h.algorithm)
	switch {
	case method == nil || h.algorithm == "none":
	case strings.HasPrefix(h.algorithm, "HS"):
		if v.secret != nil {
			return method.Verify(signed, signature, v.secret)
		}
	default:
		for _, key := range v.keysFor(h) {
			if method.Verify(signed, signature, key) == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("no key %q for algorithm %q verifies it", h.key, h.algorithm)
}

// keysFor returns the public keys that may have made a signature. A key that a token
// names is the only one for it.
func (v *Verifier) keysFor(h *header) (keys []crypto.PublicKey) {
	candidates := v.unnamed
	if key, ok := v.named[h.key]; ok && h.key != "" {
		candidates = []publicKey{key}
	} else if h.key == "" && len(v.unnamed) == 0 && len(v.named) == 1 {
		for _, key := range v.named {
			candidates = []publicKey{key}
		}
	}
	for _, k := range candidates {
		if slices.Contains(k.algorithms, h.algorithm) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// decode decodes base64url as tokens are written: without padding, line breaks or
// bits that mean nothing.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		// Go's decoder skips them.
		return nil, base64.CorruptInputError(strings.IndexAny(s, "\r\n"))
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
