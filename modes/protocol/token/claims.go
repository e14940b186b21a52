package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// header is what of a token's header is understood (RFC 7515 section 4).
type header struct {
	algorithm string
	key       string // id, empty if there is none
}

// parseHeader refuses what would have to be understood and is not.
func parseHeader(encoded string) (h header, err error) {
	m, err := parseObject(encoded)
	if err != nil {
		return h, err
	}
	var kind, content string
	for name, into := range map[string]*string{"alg": &h.algorithm, "kid": &h.key, "typ": &kind, "cty": &content} {
		if err := m.text(name, into); err != nil {
			return h, err
		}
	}
	switch {
	case m["crit"] != nil:
		// Section 4.1.11: whoever does not understand all of these extensions has to
		// refuse the token, and none is understood here.
		return h, fmt.Errorf("critical extensions %s are not understood", m["crit"])
	case m["b64"] != nil && string(m["b64"]) != "true":
		// RFC 7797 section 7: tokens always encode their claims.
		return h, errors.New("claims that are not encoded")
	case content != "":
		return h, fmt.Errorf("a token inside a token (cty %q)", content)
	}
	// RFC 8725 section 3.11: a token of another kind, such as a logout token, which
	// the same issuer has signed, is not one to connect with.
	switch strings.TrimPrefix(strings.ToLower(kind), "application/") {
	case "", "jwt", "at+jwt":
		return h, nil
	}
	return h, fmt.Errorf("a token of type %q", kind)
}

// claims are the body of a token.
type claims struct {
	session.Claims
	expiresAt, notBefore, issuedAt *float64 // seconds of Unix time
	expireAt                       *float64 // when what the token is for ends, if not at exp; 0: never
}

func parseClaims(encoded string) (c claims, err error) {
	m, err := parseObject(encoded)
	if err != nil {
		return c, err
	}
	for name, into := range map[string]*string{"sub": &c.User, "channel": &c.Channel, "client": &c.Client} {
		if err := m.text(name, into); err != nil {
			return c, err
		}
	}
	for name, into := range map[string]**float64{
		"exp": &c.expiresAt, "nbf": &c.notBefore, "iat": &c.issuedAt, "expire_at": &c.expireAt,
	} {
		if *into, err = m.number(name); err != nil {
			return c, err
		}
	}
	if raw := m["channels"]; raw != nil {
		if err := json.Unmarshal(raw, &c.Channels); err != nil {
			return c, errors.New("channels is not a list of strings")
		}
	}
	return c, nil
}

// lastSecond is the end of the year 9999. What ends later ends then.
const lastSecond = 253402300799

// valid returns what the token says, if it is good at this time.
func (c *claims) valid(now time.Time) (session.Claims, error) {
	seconds := float64(now.UnixNano()) / 1e9
	for name, from := range map[string]*float64{"nbf": c.notBefore, "iat": c.issuedAt} {
		if from != nil && *from > seconds+Leeway.Seconds() {
			return session.Claims{}, fmt.Errorf("%w: %s is %.0f s ahead", session.ErrTokenNotYetValid, name, *from-seconds)
		}
	}
	ends := c.expiresAt
	if ends != nil && *ends <= seconds {
		return session.Claims{}, session.ErrTokenExpired
	}
	if c.expireAt != nil {
		if ends = c.expireAt; *ends == 0 {
			ends = nil
		} else if *ends <= seconds {
			return session.Claims{}, session.ErrTokenExpired
		}
	}
	if ends != nil {
		// Claims count in whole seconds, of which 0 is never.
		c.Expires = int64(max(1, math.Ceil(min(*ends, lastSecond))))
	}
	return c.Claims, nil
}

// object is a JSON object whose members are named once each. Names are compared byte
// by byte (RFC 7519 section 10.1), which encoding/json does not do for a struct.
type object map[string]json.RawMessage

// parseObject decodes a part of a token. RFC 7515 section 4 and RFC 7519 section 4
// let it refuse a member that is there twice; of two claims, the issuer and the
// server might otherwise each mean another.
func parseObject(encoded string) (object, error) {
	data, err := decode(encoded)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	m := make(object)
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		// Only strings can stand here.
		key, _ := name.(string)
		if m[key] != nil {
			return nil, fmt.Errorf("%q is there twice", key)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		m[key] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return m, nil
}

// text reads a member that is a string, or null, which is as good as none.
func (m object) text(name string, into *string) error {
	raw := m[name]
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s is not a string", name)
	}
	return nil
}

// number reads a member that is a NumericDate (RFC 7519 section 2): a JSON number,
// which may have a fraction. nil means that there is none.
func (m object) number(name string) (*float64, error) {
	raw := m[name]
	if raw == nil {
		return nil, nil
	}
	var n *float64
	if err := json.Unmarshal(raw, &n); err != nil || n == nil {
		return nil, fmt.Errorf("%s is not a number", name)
	}
	return n, nil
}

// Sign returns a token with these claims, signed with HS256 and the secret.
func Sign(secret string, c session.Claims) (string, error) {
	body := jwt.MapClaims{}
	for name, value := range map[string]string{"sub": c.User, "channel": c.Channel, "client": c.Client} {
		if value != "" {
			body[name] = value
		}
	}
	if len(c.Channels) > 0 {
		body["channels"] = c.Channels
	}
	if c.Expires != 0 {
		body["exp"] = c.Expires
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, body).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("token: sign: %w", err)
	}
	return signed, nil
}
