package enginetest

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"github.com/tandem-ws/tandem/internal/selfsigned"
	"github.com/tandem-ws/tandem/modes"
)

// RunSecure runs the suite over TLS: the same clients, the same bytes, encrypted, and
// beside them the cases of TLS itself. It leaves out the table of RFC 6455's rules and
// the real Redis, which do not depend on what is below them.
func RunSecure(t *testing.T, build func(modes.Config) (modes.Engine, error)) {
	if testing.Short() {
		t.Skip("-short leaves out the suite over TLS")
	}
	secure := func(c modes.Config) (modes.Engine, error) {
		c.TLS = serverTLS()
		engine, err := build(c)
		if err != nil {
			return nil, err
		}
		return secureEngine{engine}, nil
	}
	run(t, secure, false, leftoverCases)
	run(t, secure, true, append(parallelCases(), tlsCases)...)
}

// secureEngine marks an engine that speaks TLS.
type secureEngine struct{ modes.Engine }

// serverName is whom the suite's certificate is for.
const serverName = "tandem.test"

// certificate is the suite's own, signed by itself.
var certificate = sync.OnceValue(func() *selfsigned.Certificate {
	c, err := selfsigned.New(1, serverName)
	if err != nil {
		panic(err)
	}
	return c
})

// serverTLS is the configuration of a node that speaks TLS.
func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate().TLS}, NextProtos: []string{"http/1.1"}}
}

// clientTLS is the configuration of a client that verifies the node.
func clientTLS() *tls.Config {
	pool := certificate().Pool
	return &tls.Config{RootCAs: pool, ServerName: serverName}
}

// stream is what a client reads from and writes to: a TCP connection, or TLS over
// one.
type stream interface {
	net.Conn
	CloseWrite() error
}

// secureConn is the client's end of TLS over TCP. The handshake comes with the
// first read or write.
type secureConn struct {
	*tls.Conn
	tcp *net.TCPConn
}

func secureStream(tcp *net.TCPConn) stream {
	return secureConn{tls.Client(tcp, clientTLS()), tcp}
}

// CloseWrite ends the client's side of both streams.
func (c secureConn) CloseWrite() error {
	err := c.Conn.CloseWrite()
	// The server may have closed both by now.
	_ = c.tcp.CloseWrite()
	return err
}
