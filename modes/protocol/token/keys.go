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
	"slices"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// Errors of New.
var (
	ErrPublicKey = errors.New("token: no usable public key")
	ErrKeySet    = errors.New("token: no usable key set")
)

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
	unnamed []publicKey
	named   map[string]publicKey // by kid
	now     func() time.Time
}

// publicKey is a key and the algorithms that it may be used with, so that none is used
// with another's key (RFC 8725 section 3.1).
type publicKey struct {
	key        crypto.PublicKey
	algorithms []string
}

var _ session.Verifier = (*Verifier)(nil)

// New returns the verifier for these options, nil where they are all empty. The
// error wraps ErrPublicKey or ErrKeySet.
func New(o Options) (*Verifier, error) {
	v := &Verifier{named: make(map[string]publicKey), now: time.Now}
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
	return v, nil
}

func (v *Verifier) addPEM(data []byte) error {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		key, err := parseBlock(block)
		if err != nil {
			return err
		}
		if key == nil {
			continue
		}
		algorithms := algorithmsOf(key)
		if len(algorithms) == 0 {
			return fmt.Errorf("a key of type %T", key)
		}
		v.unnamed = append(v.unnamed, publicKey{key, algorithms})
	}
	if len(v.unnamed) == 0 {
		return errors.New("no PEM block holds one")
	}
	return nil
}

// parseBlock returns the key in a PEM block; nil if it holds none. A private key is
// refused: it must not be on a machine that only verifies.
func parseBlock(block *pem.Block) (crypto.PublicKey, error) {
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

// addSet adds the public keys of a set that are for signatures.
func (v *Verifier) addSet(data []byte) error {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(data, &set); err != nil {
		return err
	}
	found := false
	for i, marshal := range set.Keys {
		if marshal.USE == jwkset.UseEnc || len(marshal.KEYOPS) > 0 && !slices.Contains(marshal.KEYOPS, jwkset.KeyOpsVerify) {
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
		algorithms := algorithmsOf(key)
		if marshal.ALG != "" {
			algorithms = slices.DeleteFunc(algorithms, func(a string) bool { return a != string(marshal.ALG) })
		}
		if len(algorithms) == 0 {
			continue
		}
		found = true
		if marshal.KID == "" {
			v.unnamed = append(v.unnamed, publicKey{key, algorithms})
			continue
		}
		if _, twice := v.named[marshal.KID]; twice {
			return fmt.Errorf("two keys are named %q", marshal.KID)
		}
		v.named[marshal.KID] = publicKey{key, algorithms}
	}
	if !found {
		return errors.New("it has no RSA, ECDSA or Ed25519 key to verify with")
	}
	return nil
}

// algorithmsOf returns the algorithms that a public key is for.
func algorithmsOf(key crypto.PublicKey) []string {
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

// Costly implements session.Verifier: a check with a public key takes tens of
// microseconds and more, one with a secret a few.
func (v *Verifier) Costly() bool { return len(v.unnamed)+len(v.named) > 0 }
