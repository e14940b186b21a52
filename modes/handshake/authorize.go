package handshake

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// maxTokens is how many tokens one request may bring.
const maxTokens = 32

// Authorize decides whether a raw connection may have its channels. Its tokens are
// the token parameters of the query and the Authorization header's bearer token
// (RFC 6750), each a connection token or a subscription token; they have to be of
// one user. Each private channel has to be named by one of them. expires is when
// the first of them runs out; zero: never. It may take as long as
// session.Verifier's Verify does for each.
func Authorize(rules *session.Rules, rawQuery, authorization string, channels []string) (expires time.Time, refusal *admission.Refusal) {
	if rules.Tokens == nil {
		return time.Time{}, nil
	}
	// Channels has read the same query.
	query, _ := url.ParseQuery(rawQuery)
	tokens := query["token"]
	if scheme, token, ok := strings.Cut(authorization, " "); ok && strings.EqualFold(scheme, "Bearer") {
		tokens = append(tokens, strings.TrimSpace(token))
	}
	switch {
	case len(tokens) == 0:
		return time.Time{}, RefusedNoToken
	case len(tokens) > maxTokens:
		return time.Time{}, RefusedToken
	}
	named := make(map[string]bool)
	var user string
	first := int64(0)
	for i, token := range tokens {
		claims, err := rules.Tokens.Verify(token)
		switch {
		case errors.Is(err, session.ErrTokenExpired):
			return time.Time{}, RefusedTokenExpired
		case errors.Is(err, session.ErrTokenNotYetValid):
			return time.Time{}, RefusedTokenEarly
		// A raw connection has no id that a token could be bound to.
		case err != nil, claims.Client != "", i > 0 && claims.User != user:
			return time.Time{}, RefusedToken
		}
		user = claims.User
		named[claims.Channel] = true
		for _, channel := range claims.Channels {
			named[channel] = true
		}
		if claims.Expires != 0 && (first == 0 || claims.Expires < first) {
			first = claims.Expires
		}
	}
	for _, channel := range channels {
		if rules.Private(channel) && !named[channel] {
			return time.Time{}, RefusedPermission
		}
	}
	return session.Deadline(time.Now(), first), nil
}
