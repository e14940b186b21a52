package soak

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/internal/selfsigned"
)

// privatePrefix starts the names of private channels: 11 of the 20 of Defaults.
const privatePrefix = "soak-1"

// credentials are what clients need to connect: tokens, and for TLS the server's
// certificate.
type credentials struct {
	env    []string // of the server
	tls    *tls.Config
	method jwt.SigningMethod
	key    any
	life   time.Duration
}

// newCredentials creates keys and, for TLS, a certificate with its files in dir.
// Servers with TLS verify tokens with a public key, others with a secret, so that both
// are tested.
func newCredentials(dir string, secure bool, life time.Duration) (*credentials, error) {
	a := &credentials{env: []string{"PRIVATE_PREFIX=" + privatePrefix}, life: life}
	if !secure {
		secret := rand.Text()
		a.method, a.key = jwt.SigningMethodHS256, []byte(secret)
		a.env = append(a.env, "TOKEN_SECRET="+secret)
		return a, nil
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("soak: key for tokens: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("soak: key for tokens: %w", err)
	}
	a.method, a.key = jwt.SigningMethodEdDSA, private
	a.env = append(a.env, "TOKEN_PUBLIC_KEY="+string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err := a.certify(dir); err != nil {
		return nil, fmt.Errorf("soak: certificate: %w", err)
	}
	return a, nil
}

// certify creates a certificate for 127.0.0.1.
func (a *credentials) certify(dir string) error {
	c, err := selfsigned.New(1, "127.0.0.1")
	if err != nil {
		return err
	}
	certFile, keyFile, err := c.Write(dir)
	if err != nil {
		return err
	}
	a.tls = &tls.Config{RootCAs: c.Pool, ServerName: "127.0.0.1"}
	a.env = append(a.env, "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile)
	return nil
}

// token returns a token for a private channel, and "" for a public one; if channel is
// empty, it returns one to connect with. Several goroutines may call it.
func (a *credentials) token(channel string) string {
	claims := jwt.MapClaims{"sub": "client", "exp": time.Now().Add(a.life).Unix()}
	if channel != "" {
		if !strings.HasPrefix(channel, privatePrefix) {
			return ""
		}
		claims["channel"] = channel
	}
	// The only possible error is a key that does not fit the method.
	text, _ := jwt.NewWithClaims(a.method, claims).SignedString(a.key)
	return text
}
