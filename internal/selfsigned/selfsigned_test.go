package selfsigned

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

func TestCertificate(t *testing.T) {
	c, err := New(7, "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := c.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil || leaf.SerialNumber.Int64() != 7 {
		t.Fatalf("serial %v, %v", leaf, err)
	}
	for host, ok := range map[string]bool{"localhost": true, "127.0.0.1": true, "example.com": false} {
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: c.Pool})
		if (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		}
	}
}
