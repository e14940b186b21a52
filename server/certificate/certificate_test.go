package certificate

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/server/certificate/certtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something that must happen.
const patience = time.Minute

// serves reports whether the pair with this serial number is served.
func (c *Certificate) serves(serial int64) bool {
	pair, err := c.TLSConfig().GetCertificate(nil)
	return err == nil && pair.Leaf.SerialNumber.Int64() == serial
}

func TestCertificateReload(t *testing.T) {
	directory := t.TempDir()
	certFile, keyFile := certtest.Write(t, directory, 1)
	var log bytes.Buffer
	c, err := Load(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if !c.serves(1) || c.touched() {
		t.Fatal("the pair is not served, or seems to have changed")
	}

	// Half of a new pair, as while it is written.
	certtest.Write(t, directory, 2)
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	certtest.WriteFile(t, keyFile, []byte("half"))
	if !c.touched() {
		t.Error("a change goes unnoticed")
	}
	c.reload()
	c.reload()
	if got := strings.Count(log.String(), "cannot be used"); got != 1 || !c.serves(1) {
		t.Errorf("a broken pair was logged %d times, want 1; the old one is served: %t", got, c.serves(1))
	}
	certtest.WriteFile(t, keyFile, key)
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
	watching.Go(func() { c.Watch(ctx) })
	defer watching.Wait()
	defer cancel()
	certtest.Write(t, directory, 3)
	for deadline := time.Now().Add(patience); !c.serves(3); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the changed files were not noticed in %v", patience)
		}
	}
}

func TestCertificateUnusable(t *testing.T) {
	certFile, keyFile := certtest.Write(t, t.TempDir(), 1)
	_, other := certtest.Write(t, t.TempDir(), 2)
	for name, files := range map[string][2]string{
		"no file":       {certFile + "x", keyFile},
		"another's key": {certFile, other},
		"the wrong way": {keyFile, certFile},
		"no key":        {certFile, certFile},
		"a directory":   {filepath.Dir(certFile), keyFile},
	} {
		if _, err := Load(files[0], files[1], slog.New(slog.DiscardHandler)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}
