package server

import (
	"crypto/tls"
	"io"
	"syscall"
	"testing"

	"github.com/tandem-ws/tandem/server/certificate/certtest"
)

func TestCertificateUnusable(t *testing.T) {
	certFile, _ := certtest.Write(t, t.TempDir(), 1)
	_, other := certtest.Write(t, t.TempDir(), 2)
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
			certFile, keyFile := certtest.Write(t, directory, 1)
			p := startProcess(t, "MODE="+mode, "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile)
			first := dialTLS(t, p.public)
			if got := serial(first); got != 1 {
				t.Fatalf("certificate %d, want 1", got)
			}
			certtest.Write(t, directory, 2)
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
