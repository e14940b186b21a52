// Package selfsigned creates certificates that are signed by their own key, for tests.
package selfsigned

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certificate is a certificate and its key.
type Certificate struct {
	CertPEM, KeyPEM []byte
	// TLS is the same for a server, and Pool for a client that trusts it.
	TLS  tls.Certificate
	Pool *x509.CertPool
}

// New creates a certificate for these names and IP addresses that is valid for a year.
func New(serial int64, hosts ...string) (*Certificate, error) {
	c, err := create(serial, hosts)
	if err != nil {
		return nil, fmt.Errorf("selfsigned: create a certificate: %w", err)
	}
	return c, nil
}

func create(serial int64, hosts []string) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c := &Certificate{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		TLS:     tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		Pool:    x509.NewCertPool(),
	}
	c.Pool.AddCert(leaf)
	return c, nil
}

// Write writes the certificate and its key into a folder and returns their paths.
func (c *Certificate) Write(folder string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	return certFile, keyFile, c.WriteFiles(certFile, keyFile)
}

// WriteFiles writes the certificate and its key to these paths.
func (c *Certificate) WriteFiles(certFile, keyFile string) error {
	err := errors.Join(os.WriteFile(certFile, c.CertPEM, 0o600), os.WriteFile(keyFile, c.KeyPEM, 0o600))
	if err != nil {
		return fmt.Errorf("selfsigned: %w", err)
	}
	return nil
}
