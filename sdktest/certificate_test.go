package sdktest

import (
	"testing"

	"github.com/tandem-ws/tandem/internal/selfsigned"
)

// certificate writes a certificate for 127.0.0.1, self-signed, and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	c, err := selfsigned.New(1, "127.0.0.1")
	if err == nil {
		certFile, keyFile, err = c.Write(t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}
