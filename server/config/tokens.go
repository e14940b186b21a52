package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/token"
)

// MinSecret is the length that RFC 7518 section 3.2 requires of the secret of HS256. The
// server warns of a shorter TOKEN_SECRET.
const MinSecret = 32

// TokenVerifier returns the verifier of clients' tokens, or nil if they need none. The
// error wraps ErrInvalid.
func (c *Config) TokenVerifier() (session.Verifier, error) {
	o := token.Options{Secret: c.TokenSecret}
	// In files that hold a variable on one line, line ends are written as \n.
	o.PublicKeys = []byte(strings.ReplaceAll(c.TokenPublicKey, `\n`, "\n"))
	for _, file := range []struct {
		name, path string
		into       *[]byte
	}{
		{"TOKEN_PUBLIC_KEY_FILE", c.TokenPublicKeyFile, &o.PublicKeys},
		{"TOKEN_JWKS_FILE", c.TokenJWKSFile, &o.KeySet},
	} {
		if file.path == "" {
			continue
		}
		content, err := os.ReadFile(file.path)
		if err == nil && len(content) == 0 {
			err = errors.New("the file is empty")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s=%q: %w", ErrInvalid, file.name, file.path, err)
		}
		*file.into = append(append(*file.into, '\n'), content...)
	}
	if strings.TrimSpace(string(o.PublicKeys)) == "" {
		o.PublicKeys = nil
	}
	v, err := token.New(o)
	switch {
	case errors.Is(err, token.ErrKeySet):
		return nil, fmt.Errorf("%w: TOKEN_JWKS_FILE=%q: %w: write a JSON Web Key Set of public keys", ErrInvalid, c.TokenJWKSFile, err)
	case err != nil:
		return nil, fmt.Errorf("%w: TOKEN_PUBLIC_KEY or TOKEN_PUBLIC_KEY_FILE: %w: write public keys in PEM", ErrInvalid, err)
	case v == nil:
		return nil, nil
	}
	return v, nil
}
