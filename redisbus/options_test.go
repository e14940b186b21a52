package redisbus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

func TestBadOptions(t *testing.T) {
	const good = "redis://127.0.0.1:6379"
	for name, tc := range map[string]struct {
		opts Options
		want string // part of the error
	}{
		"no URL":             {Options{}, "no Redis URL"},
		"no scheme":          {Options{URL: "127.0.0.1:6379"}, "bad Redis URL"},
		"other scheme":       {Options{URL: "http://127.0.0.1"}, "invalid URL scheme: http"},
		"control character":  {Options{URL: "redis://h\n:1"}, "bad Redis URL"},
		"bad database":       {Options{URL: good + "/x"}, "invalid database number"},
		"unknown parameter":  {Options{URL: good + "?nonsense=1"}, "nonsense"},
		"password unescaped": {Options{URL: "redis://:sec/ret@127.0.0.1:6379"}, "percent-encoded"},
		"no master":          {Options{URL: "redis+sentinel://a:1,b:2/"}, "names no master"},
		"no sentinel":        {Options{URL: "redis+sentinel:///?master=m"}, "no host"},
		"empty sentinel":     {Options{URL: "redis+sentinel://a,,b/?master=m"}, "no host"},
		"sentinel parameter": {Options{URL: "redis+sentinel://a/?master=m&nonsense=1"}, "nonsense"},
		"sentinel database":  {Options{URL: "rediss+sentinel://a/x?master=m"}, "invalid database number"},
		"sentinel password":  {Options{URL: "redis+sentinel://:sec/ret@a:1,b:2/?master=m"}, "percent-encoded"},
		"password in query":  {Options{URL: "redis+sentinel://a:1/?master=m&sentinel_password=sec%zzret"}, "parameters"},
		"connections":        {Options{URL: good, Connections: -1}, "Pub/Sub connections"},
		"heartbeat":          {Options{URL: good, HeartbeatTimeout: -1}, "heartbeat"},
		"reconnect":          {Options{URL: good, ReconnectMin: time.Minute}, "reconnect"},
		"queue":              {Options{URL: good, MaxQueuedPublishes: -1}, "publish queue"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tc.opts)
			if err == nil {
				t.Fatal("accepted")
			}
			message := err.Error()
			if !strings.Contains(message, tc.want) || !strings.HasPrefix(message, "redisbus: ") {
				t.Errorf("%q, want it to say %q", message, tc.want)
			}
			if strings.Contains(message, "\n") {
				t.Errorf("%q is not one line", message)
			}
			if strings.Contains(message, "sec") && strings.Contains(name, "password") {
				t.Errorf("%q tells of the password", message)
			}
		})
	}
}

// exchangeOne shows that messages go both ways.
func exchangeOne(t *testing.T, url string) {
	t.Helper()
	r := newRecorder()
	bus := startBus(t, url, r, Options{})
	mustSubscribe(t, bus, "a")
	published := make(chan error, 1)
	bus.Publish("a", []byte("x"), func(err error) { published <- err })
	if err := <-published; err != nil {
		t.Errorf("publish: %v", err)
	}
	await(t, "the message arrives", func() bool { return len(r.on("a")) == 1 })
	bus.Close()
}

func TestPasswordAndDatabase(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "secret")
	exchangeOne(t, s.URL()+"/3")

	bus, err := New(Options{URL: "redis://:wrong@" + s.Addr(), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if err := bus.Start(newRecorder()); err != nil {
		t.Fatal(err)
	}
	await(t, "the reason is told", func() bool {
		err := bus.Ready()
		return err != nil && strings.Contains(err.Error(), "WRONGPASS")
	})
}

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "redis.sock")
	redistest.Start(t, "--unixsocket", path)
	exchangeOne(t, "unix://"+path)
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile)
	port := freePort(t)
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", certFile, "--tls-auth-clients", "no")
	exchangeOne(t, "rediss://127.0.0.1:"+port+"?skip_verify=true")

	bus, err := New(Options{URL: "rediss://127.0.0.1:" + port, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if err := bus.Start(newRecorder()); err != nil {
		t.Fatal(err)
	}
	await(t, "the certificate is rejected", func() bool {
		err := bus.Ready()
		return err != nil && strings.Contains(err.Error(), "x509")
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func writeCertificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "redis"},
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
}

func TestEmbedded(t *testing.T) {
	e, err := StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	u, err := url.Parse(e.URL())
	if err != nil || u.Host != e.Addr() || u.Port() != e.Port() {
		t.Errorf("URL %q of %s, port %s: %v", e.URL(), e.Addr(), e.Port(), err)
	}
	if _, err := StartEmbedded(e.Addr()); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("on a port that is taken: %v", err)
	}
	// With the default port taken, by this test or by the machine's own Redis,
	// any port will do.
	first, err := StartEmbedded("")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := StartEmbedded("")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if first.Addr() == second.Addr() || second.Addr() == DefaultEmbeddedAddr {
		t.Errorf("listening on %s and %s", first.Addr(), second.Addr())
	}
	exchangeOne(t, second.URL())
}

// TestEmbeddedRestart: the bus comes back from a break of the embedded Redis as
// from one of a real one.
func TestEmbeddedRestart(t *testing.T) {
	e, err := StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	bus := startBus(t, e.URL(), r, Options{})
	mustSubscribe(t, bus, "a")
	addr := e.Addr()
	e.Close()
	awaitDown(t, bus)
	again, err := StartEmbedded(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	awaitReady(t, bus)
	if got := r.losses()["a"]; got != 1 {
		t.Errorf("a reported %d times, want 1", got)
	}
}
