package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

func signature(t testing.TB, method jwt.SigningMethod, key any, text string) []byte {
	t.Helper()
	s, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// encodedToken makes a token of a header and claims that no library would write.
func encodedToken(t testing.TB, header, claims string, sign func(text string) []byte) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
}

func hs256(t testing.TB, header, claims string) string {
	t.Helper()
	return encodedToken(t, header, claims, func(text string) []byte {
		return signature(t, jwt.SigningMethodHS256, []byte(secret), text)
	})
}

// What a header asks for and is not understood must not be ignored.
func TestHeaders(t *testing.T) {
	v := verifier(t, Options{Secret: secret})
	for header, good := range map[string]bool{
		`{"alg":"HS256"}`:                                    true,
		`{"alg":"HS256","typ":"JWT"}`:                        true,
		`{"alg":"HS256","typ":"jwt"}`:                        true,
		`{"alg":"HS256","typ":"application/at+jwt"}`:         true,
		`{"alg":"HS256","x":{"alg":"none"},"kid":"a"}`:       true,
		`{"alg":"HS256","b64":true}`:                         true,
		`{"alg":"HS256","jwk":{},"jku":"http://x","x5c":[]}`: true,
		`{"alg":"HS256","crit":["exp"],"exp":1}`:             false,
		`{"alg":"HS256","crit":["b64"],"b64":true}`:          false,
		`{"alg":"HS256","crit":["x"]}`:                       false,
		`{"alg":"HS256","crit":[]}`:                          false,
		`{"alg":"HS256","crit":null}`:                        false,
		`{"alg":"HS256","b64":false}`:                        false,
		`{"alg":"HS256","cty":"JWT"}`:                        false,
		`{"alg":"HS256","typ":"logout+jwt"}`:                 false,
		`{"alg":"HS256","typ":1}`:                            false,
		`{"alg":"HS256","kid":1}`:                            false,
		`{"alg":"HS256","alg":"HS256"}`:                      false,
		`{"alg":"none","alg":"HS256"}`:                       false,
		`{"Alg":"HS256"}`:                                    false,
		`{"alg":"hs256"}`:                                    false,
		`{"alg":["HS256"]}`:                                  false,
		`{}`:                                                 false,
		`[]`:                                                 false,
		`null`:                                               false,
		"{\"alg\":\"HS256\"}\n":                              true,
		`{"alg":"HS256"}{}`:                                  false,
		``:                                                   false,
	} {
		c, err := v.Verify(hs256(t, header, `{"sub":"u"}`))
		if good && (err != nil || c.User != "u") || !good && !errors.Is(err, session.ErrTokenInvalid) {
			t.Errorf("%s: %+v, %v", header, c, err)
		}
	}
	good := hs256(t, `{"alg":"HS256"}`, `{"sub":"u"}`)
	for name, token := range map[string]string{
		"padded":       good + "=",
		"broken":       strings.Replace(good, ".", ".\n", 1),
		"line behind":  good + "\n",
		"four parts":   good + ".",
		"five parts":   good + "..",
		"two parts":    good[:strings.LastIndexByte(good, '.')],
		"other base64": strings.Replace(good, "-", "+", 1) + "+",
	} {
		if _, err := v.Verify(token); !errors.Is(err, session.ErrTokenInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Times that are odd must neither end the connection at once nor never.
func TestTimes(t *testing.T) {
	v := verifier(t, Options{Secret: secret})
	now := time.Unix(1_800_000_000, 500_000_000)
	v.now = func() time.Time { return now }
	ends := func(at int64) string { return fmt.Sprint(at) }
	const early, expired, invalid = "early", "expired", "invalid"
	for claims, want := range map[string]string{
		`{}`:                                   ends(0),
		`{"exp":1800000001}`:                   ends(1800000001),
		`{"exp":1800000000}`:                   expired,
		`{"exp":1800000000.75}`:                ends(1800000001),
		`{"exp":1.800000001e9}`:                ends(1800000001),
		`{"exp":0}`:                            expired,
		`{"exp":0.5}`:                          expired,
		`{"exp":-1}`:                           expired,
		`{"exp":-1e300}`:                       expired,
		`{"exp":1800000001000}`:                ends(lastSecond),
		`{"exp":1e300}`:                        ends(lastSecond),
		`{"exp":9223372036854775808}`:          ends(lastSecond),
		`{"exp":1e999}`:                        invalid,
		`{"exp":null}`:                         invalid,
		`{"exp":"1800000001"}`:                 invalid,
		`{"exp":true}`:                         invalid,
		`{"exp":[1800000001]}`:                 invalid,
		`{"exp":1800000001,"exp":1900000000}`:  invalid,
		`{"exp":1800000001,"EXP":1900000000}`:  ends(1800000001),
		`{"EXP":1}`:                            ends(0),
		`{"expire_at":0,"exp":1800000001}`:     ends(0),
		`{"expire_at":0,"exp":1}`:              expired,
		`{"expire_at":1800000009}`:             ends(1800000009),
		`{"expire_at":1}`:                      expired,
		`{"expire_at":-1}`:                     expired,
		`{"expire_at":0.4}`:                    expired,
		`{"expire_at":null}`:                   invalid,
		`{"nbf":1800000060}`:                   ends(0),
		`{"nbf":1800000061}`:                   early,
		`{"iat":1800000060}`:                   ends(0),
		`{"iat":1800000061}`:                   early,
		`{"iat":-1e300,"nbf":-1}`:              ends(0),
		`{"nbf":1e300}`:                        early,
		`{"nbf":"x"}`:                          invalid,
		`{"nbf":1900000000,"exp":1}`:           early,
		`{"sub":"a","sub":"b"}`:                invalid,
		`{"channel":"a","channel":"b"}`:        invalid,
		`{"channels":["a"],"channels":["b"]}`:  invalid,
		`{"channels":"a"}`:                     invalid,
		`{"channels":[1]}`:                     invalid,
		`{"channels":null,"sub":null}`:         ends(0),
		`{"sub":"\ud800"}`:                     ends(0),
		`{"info":{"exp":1,"exp":2},"sub":"a"}`: ends(0),
		`{"sub":"a"`:                           invalid,
		`{"sub":"a"}{"sub":"b"}`:               invalid,
		`[{"sub":"a"}]`:                        invalid,
		`"eyJhbGciOiJIUzI1NiJ9.e30.x"`:         invalid,
	} {
		c, err := v.Verify(hs256(t, `{"alg":"HS256"}`, claims))
		got := ends(c.Expires)
		switch {
		case errors.Is(err, session.ErrTokenNotYetValid):
			got = early
		case errors.Is(err, session.ErrTokenExpired):
			got = expired
		case errors.Is(err, session.ErrTokenInvalid):
			got = invalid
		case err != nil:
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", claims, got, err, want)
		}
	}
	// Names are compared byte by byte.
	if c, err := v.Verify(hs256(t, `{"alg":"HS256"}`, `{"sub":"u","SUB":"admin","Channel":"$a"}`)); err != nil || c.User != "u" || c.Channel != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

// A key of a set is used with its own algorithm only, and not if it is for something
// else.
func TestKeySetAlgorithms(t *testing.T) {
	set := func(more string) []byte {
		plain := string(setOf(t, map[string]any{"k": &keys.rsa.PublicKey}))
		return []byte(strings.Replace(plain, `"kid":"k"`, `"kid":"k"`+more, 1))
	}
	v := verifier(t, Options{KeySet: set(`,"alg":"RS256"`)})
	if _, err := v.Verify(signed(t, jwt.SigningMethodRS256, keys.rsa, "k", nil)); err != nil {
		t.Errorf("its own algorithm: %v", err)
	}
	if _, err := v.Verify(signed(t, jwt.SigningMethodPS256, keys.rsa, "k", nil)); !errors.Is(err, session.ErrTokenInvalid) {
		t.Errorf("another algorithm: %v", err)
	}
	for _, more := range []string{`,"alg":"RSA-OAEP"`, `,"key_ops":["encrypt"]`, `,"use":"enc"`} {
		if _, err := New(Options{KeySet: set(more)}); !errors.Is(err, ErrKeySet) {
			t.Errorf("a key with %s is used: %v", more, err)
		}
	}
}

// FuzzVerify: no token makes the verifier panic, and none is good that was not signed.
func FuzzVerify(f *testing.F) {
	v := verifier(f, Options{Secret: secret, PublicKeys: allPEM(f)})
	f.Add(`{"alg":"HS256"}`, `{"sub":"u","exp":1900000000}`, "x")
	f.Add(`{"alg":"none"}`, `{}`, "")
	f.Fuzz(func(t *testing.T, header, claims, junk string) {
		token := hs256(t, header, claims)
		c, err := v.Verify(token)
		if err == nil && c.Expires < 0 {
			t.Errorf("it ends at %d", c.Expires)
		}
		if _, forged := v.Verify(token[:strings.LastIndexByte(token, '.')+1] + junk); forged == nil && !strings.HasSuffix(token, "."+junk) {
			t.Errorf("%q is taken for a signature", junk)
		}
	})
}
