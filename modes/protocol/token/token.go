// Package token checks the JSON Web Tokens (RFC 7519) that clients connect and
// subscribe with, and makes those that are signed with a secret. The names of the
// claims are Centrifugo's, so that its server libraries make tokens that are good
// here.
package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// Errors of New.
var (
	ErrPublicKey = errors.New("token: no usable public key")
	ErrKeySet    = errors.New("token: no usable key set")
)

// maxLength is the longest token that is looked at, in bytes.
const maxLength = 8 << 10

// Options are what tokens may be signed with; what is empty is not accepted.
type Options struct {
	// Secret is that of HS256, HS384 and HS512.
	Secret string
	// PublicKeys are RSA, ECDSA and Ed25519 keys in PEM: PUBLIC KEY, RSA PUBLIC
	// KEY or CERTIFICATE.
	PublicKeys []byte
	// KeySet is a JSON Web Key Set (RFC 7517). Tokens name its keys by kid.
	KeySet []byte
}

// Verifier checks tokens. It implements session.Verifier; its methods may be
// called concurrently.
type Verifier struct {
	secret  []byte
	unnamed []crypto.PublicKey
	named   map[string]crypto.PublicKey // by kid
	parser  *jwt.Parser
}

var _ session.Verifier = (*Verifier)(nil)

// New returns the verifier for these options, nil where they are all empty. The
// error wraps ErrPublicKey or ErrKeySet.
func New(o Options) (*Verifier, error) {
	v := &Verifier{named: make(map[string]crypto.PublicKey)}
	if o.Secret != "" {
		v.secret = []byte(o.Secret)
	}
	if len(o.PublicKeys) > 0 {
		if err := v.addPEM(o.PublicKeys); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPublicKey, err)
		}
	}
	if len(o.KeySet) > 0 {
		if err := v.addSet(o.KeySet); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
		}
	}
	if v.secret == nil && !v.Costly() {
		return nil, nil
	}
	v.parser = jwt.NewParser(jwt.WithValidMethods(v.methods()))
	return v, nil
}

func (v *Verifier) addPEM(data []byte) error {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		key, err := publicKey(block)
		if err != nil {
			return err
		}
		if key == nil {
			continue
		}
		if len(methodsOf(key)) == 0 {
			return fmt.Errorf("a key of type %T", key)
		}
		v.unnamed = append(v.unnamed, key)
	}
	if len(v.unnamed) == 0 {
		return errors.New("no PEM block holds one")
	}
	return nil
}

// publicKey reads one PEM block; nil: it holds no key. A private key is refused:
// it has no business here.
func publicKey(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		return nil, errors.New("it is a private key")
	}
	return nil, nil
}

// addSet takes the public keys of a set. Others, and those that are for
// encryption, it leaves out.
func (v *Verifier) addSet(data []byte) error {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(data, &set); err != nil {
		return err
	}
	found := false
	for i, marshal := range set.Keys {
		if marshal.USE == jwkset.UseEnc {
			continue
		}
		if marshal.D != "" {
			return fmt.Errorf("key %d is a private key", i)
		}
		jwk, err := jwkset.NewJWKFromMarshal(marshal, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			return fmt.Errorf("key %d: %w", i, err)
		}
		key := jwk.Key()
		if len(methodsOf(key)) == 0 {
			continue
		}
		found = true
		if marshal.KID == "" {
			v.unnamed = append(v.unnamed, key)
			continue
		}
		if _, twice := v.named[marshal.KID]; twice {
			return fmt.Errorf("two keys are named %q", marshal.KID)
		}
		v.named[marshal.KID] = key
	}
	if !found {
		return errors.New("it has no RSA, ECDSA or Ed25519 key to verify with")
	}
	return nil
}

// methodsOf returns the algorithms that a public key is for, so that none is used
// with another's key (RFC 8725 section 3.1).
func methodsOf(key crypto.PublicKey) []string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return []string{"ES256"}
		case 384:
			return []string{"ES384"}
		case 521:
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

func (v *Verifier) methods() (all []string) {
	if v.secret != nil {
		all = append(all, "HS256", "HS384", "HS512")
	}
	for _, key := range v.unnamed {
		all = append(all, methodsOf(key)...)
	}
	for _, key := range v.named {
		all = append(all, methodsOf(key)...)
	}
	return all
}

// Costly implements session.Verifier: a check with a public key takes tens of
// microseconds and more, one with a secret a few.
func (v *Verifier) Costly() bool { return len(v.unnamed)+len(v.named) > 0 }

// claims are the body of a token.
type claims struct {
	jwt.RegisteredClaims
	Channel  string   `json:"channel,omitempty"`
	Client   string   `json:"client,omitempty"`
	Channels []string `json:"channels,omitempty"`
	// ExpireAt is when what the token is for ends, where that is not exp: 0 is
	// never.
	ExpireAt *int64 `json:"expire_at,omitempty"`
}

// Verify implements session.Verifier.
func (v *Verifier) Verify(token string) (session.Claims, error) {
	if len(token) > maxLength {
		return session.Claims{}, fmt.Errorf("%w: longer than %d bytes", session.ErrTokenInvalid, maxLength)
	}
	var c claims
	_, err := v.parser.ParseWithClaims(token, &c, v.key)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return session.Claims{}, session.ErrTokenExpired
	case err != nil:
		return session.Claims{}, fmt.Errorf("%w: %w", session.ErrTokenInvalid, err)
	}
	out := session.Claims{User: c.Subject, Channel: c.Channel, Client: c.Client, Channels: c.Channels}
	if c.ExpiresAt != nil {
		out.Expires = c.ExpiresAt.Unix()
	}
	if c.ExpireAt != nil {
		out.Expires = *c.ExpireAt
	}
	return out, nil
}

// key returns what a token may be verified with, by its algorithm and kid.
func (v *Verifier) key(t *jwt.Token) (any, error) {
	method := t.Method.Alg()
	if _, ok := t.Method.(*jwt.SigningMethodHMAC); ok {
		// The parser lets HMAC through only where there is a secret.
		return v.secret, nil
	}
	fits := func(key crypto.PublicKey) bool {
		for _, m := range methodsOf(key) {
			if m == method {
				return true
			}
		}
		return false
	}
	kid, _ := t.Header["kid"].(string)
	if key, ok := v.named[kid]; ok && kid != "" {
		if !fits(key) {
			return nil, fmt.Errorf("key %q is none for %s", kid, method)
		}
		return key, nil
	}
	keys := v.unnamed
	if kid == "" && len(keys) == 0 && len(v.named) == 1 {
		for _, key := range v.named {
			keys = []crypto.PublicKey{key}
		}
	}
	var set jwt.VerificationKeySet
	for _, key := range keys {
		if fits(key) {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, fmt.Errorf("no key %q for %s", kid, method)
	}
	return set, nil
}

// Sign returns a token with these claims, signed with HS256 and the secret.
func Sign(secret string, c session.Claims) (string, error) {
	body := claims{Channel: c.Channel, Client: c.Client, Channels: c.Channels}
	body.Subject = c.User
	if c.Expires != 0 {
		body.ExpiresAt = jwt.NewNumericDate(time.Unix(c.Expires, 0))
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, body).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("token: sign: %w", err)
	}
	return signed, nil
}
