package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// pairFiles writes a certificate with this serial number, and its key.
func pairFiles(t testing.TB, directory string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(directory, "cert.pem"), filepath.Join(directory, "key.pem")
	writeFile(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return certFile, keyFile
}

func writeFile(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// serves tells whether the pair with this serial number is served.
func (c *certificate) serves(serial int64) bool {
	pair, err := c.config().GetCertificate(nil)
	return err == nil && pair.Leaf.SerialNumber.Int64() == serial
}

func TestCertificateReload(t *testing.T) {
	directory := t.TempDir()
	certFile, keyFile := pairFiles(t, directory, 1)
	var log bytes.Buffer
	c, err := loadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if !c.serves(1) || c.touched() {
		t.Fatal("the pair is not served, or seems to have changed")
	}

	// Half of a new pair, as while it is written.
	pairFiles(t, directory, 2)
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, keyFile, []byte("half"))
	if !c.touched() {
		t.Error("a change goes unnoticed")
	}
	c.reload()
	c.reload()
	if got := strings.Count(log.String(), "cannot be used"); got != 1 || !c.serves(1) {
		t.Errorf("a broken pair was logged %d times, want 1; the old one is served: %t", got, c.serves(1))
	}
	writeFile(t, keyFile, key)
	c.reload()
	c.reload()
	if got := strings.Count(log.String(), "certificate loaded"); got != 1 || !c.serves(2) {
		t.Errorf("a new pair was logged %d times, want 1; it is served: %t", got, c.serves(2))
	}
	if loaded, failed := testutil.ToFloat64(c.reloads.WithLabelValues("loaded")), testutil.ToFloat64(c.reloads.WithLabelValues("failed")); loaded != 1 || failed != 1 {
		t.Errorf("%v reloads, %v failures, want 1 of each", loaded, failed)
	}

	// By the clock alone.
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { c.watch(ctx) })
	defer watching.Wait()
	defer cancel()
	pairFiles(t, directory, 3)
	await(t, "the changed files to be noticed", func() bool { return c.serves(3) })
}

func TestCertificateUnusable(t *testing.T) {
	certFile, keyFile := pairFiles(t, t.TempDir(), 1)
	_, other := pairFiles(t, t.TempDir(), 2)
	for name, files := range map[string][2]string{
		"no file":       {certFile + "x", keyFile},
		"another's key": {certFile, other},
		"the wrong way": {keyFile, certFile},
		"no key":        {certFile, certFile},
		"a directory":   {filepath.Dir(certFile), keyFile},
	} {
		if _, err := loadCertificate(files[0], files[1], slog.New(slog.DiscardHandler)); !errors.Is(err, errCertificate) {
			t.Errorf("%s: got %v, want errCertificate", name, err)
		}
	}
	p := launch(t, "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+other, "ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0")
	if code := p.exit(); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
}

// A real process speaks TLS, and changes its certificate on SIGHUP without losing a
// connection.
func TestTLS(t *testing.T) {
	for _, mode := range allModes() {
		t.Run(mode, func(t *testing.T) {
			directory := t.TempDir()
			certFile, keyFile := pairFiles(t, directory, 1)
			p := startProcess(t, "MODE="+mode, "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile)
			first := dialTLS(t, p.public)
			if got := serial(first); got != 1 {
				t.Fatalf("certificate %d, want 1", got)
			}
			pairFiles(t, directory, 2)
			p.signal(syscall.SIGHUP)
			await(t, "the new certificate", func() bool { return serial(dialTLS(t, p.public)) == 2 })
			if _, err := io.WriteString(first, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			const want = "HTTP/1.1 200"
			answer := make([]byte, len(want))
			if _, err := io.ReadFull(first, answer); err != nil || string(answer) != want {
				t.Errorf("over the old connection: got %q, %v", answer, err)
			}
		})
	}
}

func dialTLS(t *testing.T, addr string) *tls.Conn {
	t.Helper()
	// The test looks at the certificate itself.
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func serial(conn *tls.Conn) int64 {
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}
