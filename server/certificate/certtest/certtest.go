// Package certtest makes certificates for tests.
package certtest

import (
	"os"
	"testing"

	"github.com/tandem-ws/tandem/internal/selfsigned"
)

// Write writes a certificate for localhost, with this serial number, and its key into
// directory.
func Write(t testing.TB, directory string, serial int64) (certFile, keyFile string) {
	t.Helper()
	c, err := selfsigned.New(serial, "localhost")
	if err == nil {
		certFile, keyFile, err = c.Write(directory)
	}
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// WriteFile writes a file or fails the test.
func WriteFile(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
