package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

const secret = "a secret of thirty-two bytes, ok"

// keys are one of each kind, made once: RSA takes its time.
var keys = func() (k struct {
	rsa     *rsa.PrivateKey
	p256    *ecdsa.PrivateKey
	p384    *ecdsa.PrivateKey
	ed25519 ed25519.PrivateKey
}) {
	var errs [4]error
	k.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	k.p256, errs[1] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.p384, errs[2] = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, k.ed25519, errs[3] = ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(errs[:]...); err != nil {
		panic(err)
	}
	return k
}()

func pemOf(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func allPEM(t testing.TB) []byte {
	t.Helper()
	return slices.Concat(pemOf(t, &keys.rsa.PublicKey), pemOf(t, &keys.p256.PublicKey), pemOf(t, keys.ed25519.Public()))
}

// setOf is a JSON Web Key Set of the named keys.
func setOf(t *testing.T, named map[string]any) []byte {
	t.Helper()
	var set jwkset.JWKSMarshal
	for kid, key := range named {
		jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{
			Metadata: jwkset.JWKMetadataOptions{KID: kid}, Marshal: jwkset.JWKMarshalOptions{Private: true}})
		if err != nil {
			t.Fatal(err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func verifier(t testing.TB, o Options) *Verifier {
	t.Helper()
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// signed makes a token as a back end would.
func signed(t testing.TB, method jwt.SigningMethod, key any, kid string, body jwt.MapClaims) string {
	t.Helper()
	if body == nil {
		body = jwt.MapClaims{}
	}
	token := jwt.NewWithClaims(method, body)
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestClaims(t *testing.T) {
	v := verifier(t, Options{Secret: secret})
	exp := time.Now().Add(time.Hour).Unix()
	for name, c := range map[string]struct {
		body jwt.MapClaims
		want session.Claims
	}{
		"nothing":         {jwt.MapClaims{}, session.Claims{}},
		"connection":      {jwt.MapClaims{"sub": "42", "exp": exp, "info": map[string]any{"a": 1}}, session.Claims{User: "42", Expires: exp}},
		"server-side":     {jwt.MapClaims{"sub": "42", "channels": []string{"a", "$b"}}, session.Claims{User: "42", Channels: []string{"a", "$b"}}},
		"subscription":    {jwt.MapClaims{"sub": "42", "channel": "$a", "client": "c"}, session.Claims{User: "42", Channel: "$a", Client: "c"}},
		"one-time":        {jwt.MapClaims{"exp": exp, "expire_at": 0}, session.Claims{}},
		"another end":     {jwt.MapClaims{"exp": exp, "expire_at": exp + 9}, session.Claims{Expires: exp + 9}},
		"valid from long": {jwt.MapClaims{"nbf": exp - 7200}, session.Claims{}},
	} {
		got, err := v.Verify(signed(t, jwt.SigningMethodHS256, []byte(secret), "", c.body))
		if err != nil || got.User != c.want.User || got.Channel != c.want.Channel || got.Client != c.want.Client ||
			got.Expires != c.want.Expires || !slices.Equal(got.Channels, c.want.Channels) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

func TestSign(t *testing.T) {
	want := session.Claims{User: "42", Channel: "$a", Client: "c", Channels: []string{"x"}, Expires: time.Now().Add(time.Hour).Unix()}
	s, err := Sign(secret, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := verifier(t, Options{Secret: secret}).Verify(s)
	if err != nil || got.User != want.User || got.Channel != want.Channel || got.Client != want.Client || got.Expires != want.Expires {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestAlgorithms(t *testing.T) {
	v := verifier(t, Options{Secret: secret, PublicKeys: allPEM(t)})
	for name, token := range map[string]string{
		"HS256": signed(t, jwt.SigningMethodHS256, []byte(secret), "", jwt.MapClaims{"sub": "u"}),
		"HS384": signed(t, jwt.SigningMethodHS384, []byte(secret), "", jwt.MapClaims{"sub": "u"}),
		"HS512": signed(t, jwt.SigningMethodHS512, []byte(secret), "", jwt.MapClaims{"sub": "u"}),
		"RS256": signed(t, jwt.SigningMethodRS256, keys.rsa, "", jwt.MapClaims{"sub": "u"}),
		"RS512": signed(t, jwt.SigningMethodRS512, keys.rsa, "", jwt.MapClaims{"sub": "u"}),
		"PS256": signed(t, jwt.SigningMethodPS256, keys.rsa, "", jwt.MapClaims{"sub": "u"}),
		"ES256": signed(t, jwt.SigningMethodES256, keys.p256, "", jwt.MapClaims{"sub": "u"}),
		"EdDSA": signed(t, jwt.SigningMethodEdDSA, keys.ed25519, "", jwt.MapClaims{"sub": "u"}),
	} {
		if c, err := v.Verify(token); err != nil || c.User != "u" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestKeySet(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, Options{KeySet: setOf(t, map[string]any{
		"r": &keys.rsa.PublicKey, "e": &keys.p256.PublicKey, "e2": &other.PublicKey, "d": keys.ed25519.Public()})})
	good := map[string]string{
		"r":  signed(t, jwt.SigningMethodRS256, keys.rsa, "r", nil),
		"e":  signed(t, jwt.SigningMethodES256, keys.p256, "e", nil),
		"e2": signed(t, jwt.SigningMethodES256, other, "e2", nil),
		"d":  signed(t, jwt.SigningMethodEdDSA, keys.ed25519, "d", nil),
	}
	for kid, token := range good {
		if _, err := v.Verify(token); err != nil {
			t.Errorf("%s: %v", kid, err)
		}
	}
	for name, token := range map[string]string{
		"another key's name": signed(t, jwt.SigningMethodES256, keys.p256, "e2", nil),
		"another kind's":     signed(t, jwt.SigningMethodES256, keys.p256, "r", nil),
		"unknown name":       signed(t, jwt.SigningMethodES256, keys.p256, "x", nil),
		"no name":            signed(t, jwt.SigningMethodES256, keys.p256, "", nil),
		"a kid that is no string": encodedToken(t, `{"alg":"ES256","kid":1}`, `{}`, func(text string) []byte {
			return signature(t, jwt.SigningMethodES256, keys.p256, text)
		}),
		"no secret here": signed(t, jwt.SigningMethodHS256, []byte(secret), "", nil),
	} {
		if _, err := v.Verify(token); !errors.Is(err, session.ErrTokenInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	alone := verifier(t, Options{KeySet: setOf(t, map[string]any{"e": &keys.p256.PublicKey})})
	if _, err := alone.Verify(signed(t, jwt.SigningMethodES256, keys.p256, "", nil)); err != nil {
		t.Errorf("a token without kid, and a set of one key: %v", err)
	}
}

// What is signed otherwise, or not at all, is no token.
func TestForgeries(t *testing.T) {
	public := pemOf(t, &keys.rsa.PublicKey)
	v := verifier(t, Options{PublicKeys: allPEM(t)})
	withSecret := verifier(t, Options{Secret: secret})
	now := time.Now()
	good := signed(t, jwt.SigningMethodHS256, []byte(secret), "", jwt.MapClaims{"sub": "u"})
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	admin := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"admin"}`))
	for name, c := range map[string]struct {
		v     *Verifier
		token string
	}{
		"alg none":              {withSecret, none + "." + body + "."},
		"alg none, signature":   {withSecret, none + "." + body + "." + signature},
		"alg None":              {withSecret, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None"}`)) + "." + body + "."},
		"none by the library":   {v, signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", nil)},
		"public key as secret":  {v, signed(t, jwt.SigningMethodHS256, public, "", nil)},
		"and with a secret set": {verifier(t, Options{Secret: secret, PublicKeys: public}), signed(t, jwt.SigningMethodHS256, public, "", nil)},
		"another body":          {withSecret, head + "." + admin + "." + signature},
		"no signature":          {withSecret, head + "." + body + "."},
		"other secret":          {withSecret, signed(t, jwt.SigningMethodHS256, []byte("other"), "", nil)},
		"empty secret":          {v, signed(t, jwt.SigningMethodHS256, []byte{}, "", nil)},
		"curve not configured":  {v, signed(t, jwt.SigningMethodES384, keys.p384, "", nil)},
		"public key, no such":   {withSecret, signed(t, jwt.SigningMethodRS256, keys.rsa, "", nil)},
		"exp is no number":      {withSecret, signed(t, jwt.SigningMethodHS256, []byte(secret), "", jwt.MapClaims{"exp": "soon"})},
		"sub is no string":      {withSecret, signed(t, jwt.SigningMethodHS256, []byte(secret), "", jwt.MapClaims{"sub": 42})},
		"forged and expired":    {withSecret, signed(t, jwt.SigningMethodHS256, []byte("other"), "", jwt.MapClaims{"exp": 1})},
		"nothing":               {withSecret, ""},
		"no token":              {withSecret, "abc"},
		"huge":                  {withSecret, signed(t, jwt.SigningMethodHS256, []byte(secret), "", jwt.MapClaims{"x": strings.Repeat("x", session.MaxTokenLength)})},
	} {
		if claims, err := c.v.Verify(c.token); !errors.Is(err, session.ErrTokenInvalid) || errors.Is(err, session.ErrTokenExpired) {
			t.Errorf("%s: %+v, %v; want ErrTokenInvalid", name, claims, err)
		}
	}
	expired := signed(t, jwt.SigningMethodHS256, []byte(secret), "", jwt.MapClaims{"exp": now.Add(-time.Second).Unix()})
	if _, err := withSecret.Verify(expired); !errors.Is(err, session.ErrTokenExpired) {
		t.Errorf("expired: %v", err)
	}
}

func TestOptions(t *testing.T) {
	if v, err := New(Options{}); v != nil || err != nil {
		t.Errorf("no options: %v, %v", v, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(keys.p256)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]struct {
		Options
		want error
	}{
		"no PEM":         {Options{PublicKeys: []byte("key")}, ErrPublicKey},
		"broken PEM":     {Options{PublicKeys: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})}, ErrPublicKey},
		"private key":    {Options{PublicKeys: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}, ErrPublicKey},
		"no JSON":        {Options{KeySet: []byte("{")}, ErrKeySet},
		"no keys":        {Options{KeySet: []byte(`{"keys":[]}`)}, ErrKeySet},
		"secrets":        {Options{KeySet: setOf(t, map[string]any{"s": []byte(secret)})}, ErrKeySet},
		"private in set": {Options{KeySet: setOf(t, map[string]any{"p": keys.p256})}, ErrKeySet},
	} {
		if _, err := New(o.Options); !errors.Is(err, o.want) {
			t.Errorf("%s: %v, want %v", name, err, o.want)
		}
	}
	if verifier(t, Options{Secret: secret}).Costly() || !verifier(t, Options{PublicKeys: pemOf(t, &keys.p256.PublicKey)}).Costly() {
		t.Error("public keys are costly, secrets are not")
	}
}

func BenchmarkVerify(b *testing.B) {
	v := verifier(b, Options{Secret: secret, PublicKeys: allPEM(b)})
	exp := jwt.MapClaims{"sub": "42", "exp": time.Now().Add(time.Hour).Unix()}
	for name, token := range map[string]string{
		"HS256": signed(b, jwt.SigningMethodHS256, []byte(secret), "", exp),
		"RS256": signed(b, jwt.SigningMethodRS256, keys.rsa, "", exp),
		"ES256": signed(b, jwt.SigningMethodES256, keys.p256, "", exp),
		"EdDSA": signed(b, jwt.SigningMethodEdDSA, keys.ed25519, "", exp),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
