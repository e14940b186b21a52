package enginetest

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

// signer makes the tokens of a case.
type signer struct {
	t      tester
	method jwt.SigningMethod
	key    any
}

// eachKey runs a case with a secret, which engines verify on the spot, and with a
// public key, which they may not.
func eachKey(run func(*testing.T, Build, signer, func(*setup))) func(*testing.T, Build) {
	return func(t *testing.T, build Build) {
		const secret = "a secret of thirty-two bytes, ok"
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			signer
			token.Options
		}{
			"HS256": {signer{t, jwt.SigningMethodHS256, []byte(secret)}, token.Options{Secret: secret}},
			"EdDSA": {signer{t, jwt.SigningMethodEdDSA, private}, token.Options{PublicKeys: pemOf(t, public)}},
		} {
			t.Run(name, func(t *testing.T) {
				v, err := token.New(c.Options)
				if err != nil {
					t.Fatal(err)
				}
				c.t = t
				run(t, build, c.signer, func(s *setup) {
					s.rules.Tokens, s.rules.PrivatePrefix = v, "$"
				})
			})
		}
	}
}

func pemOf(t tester, key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatalf("encode a key: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// sign makes a token of user 42 with more claims, in pairs of name and value.
func (s signer) sign(more ...any) string {
	s.t.Helper()
	claims := jwt.MapClaims{"sub": "42"}
	for i := 0; i < len(more); i += 2 {
		claims[more[i].(string)] = more[i+1]
	}
	text, err := jwt.NewWithClaims(s.method, claims).SignedString(s.key)
	if err != nil {
		s.t.Fatalf("sign a token: %v", err)
	}
	return text
}

// soon is when tokens expire whose end a case waits for, in seconds: late enough
// for them to be used before, on a busy machine too.
const soon = 8

// in is a time that many seconds from now, as tokens have it.
func in(seconds int64) int64 { return time.Now().Unix() + seconds }
