package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
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

// certificatePoll is how often the files are looked at.
const certificatePoll = 3 * time.Second

// errCertificate says that TLS_CERT_FILE and TLS_KEY_FILE cannot be used.
var errCertificate = errors.New("TLS_CERT_FILE and TLS_KEY_FILE")

// certificate is the pair of files that the public listener's TLS rests on, and what
// was read of them last. It belongs to the goroutine of watch, but for current.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]
	reloads           *prometheus.CounterVec

	seen   [2]fs.FileInfo // of the files, before they were read last
	sum    [sha256.Size]byte
	failed string // what was logged last; empty: nothing is wrong
}

// loadCertificate reads the pair. The error wraps errCertificate.
func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{
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

// config is what the engines speak TLS with: Go's defaults, and HTTP/1.1 alone.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

// load reads the files. False: they hold what they held.
func (c *certificate) load() (changed bool, err error) {
	c.seen = c.stat()
	certPEM, err := os.ReadFile(c.certFile)
	if err != nil {
		return true, fmt.Errorf("%w: %w", errCertificate, err)
	}
	keyPEM, err := os.ReadFile(c.keyFile)
	if err != nil {
		return true, fmt.Errorf("%w: %w", errCertificate, err)
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
		return true, fmt.Errorf("%w: %s with %s: %w", errCertificate, c.certFile, c.keyFile, err)
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		c.log.Warn("the certificate has expired: clients will refuse it", "file", c.certFile, "expired", pair.Leaf.NotAfter)
	}
	c.sum = sum
	c.current.Store(&pair)
	return true, nil
}

// stat is what the files look like without reading them; nil: one is not there,
// which reading it will tell.
func (c *certificate) stat() (infos [2]fs.FileInfo) {
	for i, name := range []string{c.certFile, c.keyFile} {
		infos[i], _ = os.Stat(name)
	}
	return infos
}

// touched tells whether the files may have changed since they were read.
func (c *certificate) touched() bool {
	for i, now := range c.stat() {
		before := c.seen[i]
		if (now == nil) != (before == nil) || now != nil &&
			(now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime()) || !os.SameFile(now, before)) {
			return true
		}
	}
	return false
}

// watch takes up changes of the files until ctx is done: within certificatePoll, and
// at once on SIGHUP. Where the new pair is broken, as it is while only one of the two
// is written, the old one serves on.
func (c *certificate) watch(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	ticker := time.NewTicker(certificatePoll)
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

// reload reads the files and says once what came of it.
func (c *certificate) reload() {
	changed, err := c.load()
	switch {
	case err != nil && err.Error() == c.failed:
	case err != nil:
		c.failed = err.Error()
		c.reloads.WithLabelValues("failed").Inc()
		c.log.Error("the new certificate cannot be used: the old one serves on", "err", err,
			"expires", c.current.Load().Leaf.NotAfter)
	case changed:
		c.failed = ""
		c.reloads.WithLabelValues("loaded").Inc()
		c.log.Info("certificate loaded", "file", c.certFile, "expires", c.current.Load().Leaf.NotAfter)
	default:
		c.failed = ""
	}
}

// register makes the certificate's metrics visible to reg.
func (c *certificate) register(reg prometheus.Registerer) {
	reg.MustRegister(c.reloads, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tandem_tls_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that is served expires, in seconds since 1970.",
	}, func() float64 { return float64(c.current.Load().Leaf.NotAfter.Unix()) }))
}
