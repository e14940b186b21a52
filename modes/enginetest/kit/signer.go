package kit

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/modes/protocol/token"
)

// Signer makes the tokens of a case.
type Signer struct {
	T      Tester
	Method jwt.SigningMethod
	Key    any
}

// EachKey runs a case with a secret, which engines verify on the spot, and with a
// public key, which they may not.
func EachKey(run func(*testing.T, Build, Signer, func(*Setup))) func(*testing.T, Build) {
	return func(t *testing.T, build Build) {
		const secret = "a secret of thirty-two bytes, ok"
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			Signer
			token.Options
		}{
			"HS256": {Signer{t, jwt.SigningMethodHS256, []byte(secret)}, token.Options{Secret: secret}},
			"EdDSA": {Signer{t, jwt.SigningMethodEdDSA, private}, token.Options{PublicKeys: pemOf(t, public)}},
		} {
			t.Run(name, func(t *testing.T) {
				v, err := token.New(c.Options)
				if err != nil {
					t.Fatal(err)
				}
				c.T = t
				run(t, build, c.Signer, func(s *Setup) {
					s.Rules.Tokens, s.Rules.PrivatePrefix = v, "$"
				})
			})
		}
	}
}

func pemOf(t Tester, key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatalf("encode a key: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Sign makes a token of user 42 with more claims, in pairs of name and value.
func (s Signer) Sign(more ...any) string {
	s.T.Helper()
	claims := jwt.MapClaims{"sub": "42"}
	for i := 0; i < len(more); i += 2 {
		claims[more[i].(string)] = more[i+1]
	}
	text, err := jwt.NewWithClaims(s.Method, claims).SignedString(s.Key)
	if err != nil {
		s.T.Fatalf("sign a token: %v", err)
	}
	return text
}

// Soon is when tokens expire whose end a case waits for, in seconds: late enough
// for them to be used before, on a busy machine too.
const Soon = 8

// InSeconds is a time that many seconds from now, as tokens have it.
func InSeconds(seconds int64) int64 { return time.Now().Unix() + seconds }
