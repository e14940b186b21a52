// Package certificate reads the certificate that the public listener shows to
// clients, and reads it again when its files change.
package certificate

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// poll is how often the files are looked at.
const poll = 3 * time.Second

// ErrInvalid is returned for files that cannot be used.
var ErrInvalid = errors.New("TLS_CERT_FILE and TLS_KEY_FILE")

// Certificate is a pair of files, and what was read from them last. Leaf and
// TLSConfig's result may be used concurrently; the rest belongs to the goroutine of
// Watch.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]
	reloads           *prometheus.CounterVec

	seen   [2]fs.FileInfo // of the files, before they were read last
	sum    [sha256.Size]byte
	failed string // what was logged last; empty: nothing is wrong
}

// Load reads the pair. The error wraps ErrInvalid.
func Load(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{
		certFile: certFile, keyFile: keyFile, log: log,
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tandem_tls_certificate_reloads_total",
			Help: "Times that the certificate's files had changed, by what came of it."}, []string{"result"}),
	}
	c.reloads.WithLabelValues("loaded")
	c.reloads.WithLabelValues("failed")
	if _, err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Leaf returns the certificate that is served.
func (c *Certificate) Leaf() *x509.Certificate { return c.current.Load().Leaf }

// TLSConfig returns Go's defaults, restricted to HTTP/1.1, with the certificate that
// is current at each handshake.
func (c *Certificate) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

// load reads the files and reports whether their content has changed.
func (c *Certificate) load() (changed bool, err error) {
	c.seen = c.stat()
	certPEM, err := os.ReadFile(c.certFile)
	if err != nil {
		return true, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	keyPEM, err := os.ReadFile(c.keyFile)
	if err != nil {
		return true, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	hash := sha256.New()
	hash.Write(certPEM)
	hash.Write([]byte{0})
	hash.Write(keyPEM)
	sum := [sha256.Size]byte(hash.Sum(nil))
	if sum == c.sum {
		return false, nil
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return true, fmt.Errorf("%w: %s with %s: %w", ErrInvalid, c.certFile, c.keyFile, err)
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		c.log.Warn("the certificate has expired: clients will refuse it", "file", c.certFile, "expired", pair.Leaf.NotAfter)
	}
	c.sum = sum
	c.current.Store(&pair)
	return true, nil
}

// stat returns what the files look like without reading them. The entry of a file
// that cannot be found is nil; reading it returns the error.
func (c *Certificate) stat() (infos [2]fs.FileInfo) {
	for i, name := range []string{c.certFile, c.keyFile} {
		infos[i], _ = os.Stat(name)
	}
	return infos
}

// touched reports whether the files may have changed since they were read.
func (c *Certificate) touched() bool {
	for i, now := range c.stat() {
		before := c.seen[i]
		if (now == nil) != (before == nil) || now != nil &&
			(now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime()) || !os.SameFile(now, before)) {
			return true
		}
	}
	return false
}

// Watch takes up changes of the files until ctx is done: within poll, and at once on
// SIGHUP. If the new pair is broken, as it is while only one of the two files has been
// written, the old one stays in use.
func (c *Certificate) Watch(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			c.reload()
		case <-ticker.C:
			// What is broken may have been read half written, with the time and size
			// that it has now.
			if c.failed != "" || c.touched() {
				c.reload()
			}
		}
	}
}

// reload reads the files and logs the result once.
func (c *Certificate) reload() {
	changed, err := c.load()
	switch {
	case err != nil && err.Error() == c.failed:
	case err != nil:
		c.failed = err.Error()
		c.reloads.WithLabelValues("failed").Inc()
		c.log.Error("the new certificate cannot be used: the old one serves on", "err", err,
			"expires", c.Leaf().NotAfter)
	case changed:
		c.failed = ""
		c.reloads.WithLabelValues("loaded").Inc()
		c.log.Info("certificate loaded", "file", c.certFile, "expires", c.Leaf().NotAfter)
	default:
		c.failed = ""
	}
}

// Register makes the certificate's metrics visible to reg.
func (c *Certificate) Register(reg prometheus.Registerer) {
	reg.MustRegister(c.reloads, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tandem_tls_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that is served expires, in seconds since 1970.",
	}, func() float64 { return float64(c.Leaf().NotAfter.Unix()) }))
}
