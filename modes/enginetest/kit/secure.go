package kit

import (
	"crypto/tls"
	"net"
	"sync"

	"github.com/tandem-ws/tandem/internal/selfsigned"
	"github.com/tandem-ws/tandem/modes"
)

// SecureEngine marks an engine that speaks TLS.
type SecureEngine struct{ modes.Engine }

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

// ServerTLS is the configuration of a node that speaks TLS.
func ServerTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate().TLS}, NextProtos: []string{"http/1.1"}}
}

// ClientTLS is the configuration of a client that verifies the node.
func ClientTLS() *tls.Config {
	pool := certificate().Pool
	return &tls.Config{RootCAs: pool, ServerName: serverName}
}

// Conn is what a client reads from and writes to: a TCP connection, or TLS over
// one.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// SecureConn is the client's end of TLS over TCP. The handshake comes with the
// first read or write.
type SecureConn struct {
	*tls.Conn
	TCP *net.TCPConn
}

func secureStream(tcp *net.TCPConn) Conn {
	return SecureConn{tls.Client(tcp, ClientTLS()), tcp}
}

// CloseWrite ends the client's side of both streams.
func (c SecureConn) CloseWrite() error {
	err := c.Conn.CloseWrite()
	// The server may have closed both by now.
	_ = c.TCP.CloseWrite()
	return err
}
