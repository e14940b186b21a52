package handshake

import (
	"errors"
	"net"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
)

// Accept accepts the next connection that there is room for and counts its socket. A
// refusal is the answer to whatever it requests. net/http pauses and tries again if an
// error is temporary, as running out of descriptors is.
func Accept(l net.Listener, config *modes.Config) (net.Conn, admission.Socket, *admission.Refusal, error) {
	for {
		conn, err := l.Accept()
		if err != nil {
			var temporary net.Error
			//nolint:staticcheck // net/http, which pauses, asks the same.
			if errors.As(err, &temporary) && temporary.Temporary() {
				config.Stats.Overloads.Inc()
				config.Admission.EvictIdle()
			}
			return nil, admission.Socket{}, nil, err
		}
		// Every listener of ours is one of TCP.
		peer, _ := conn.RemoteAddr().(*net.TCPAddr)
		socket, refusal, ok := config.Admission.Open(peer.AddrPort().Addr())
		if !ok {
			config.Stats.Refuse(refusal)
			// It is of no use any more.
			_ = conn.Close()
			continue
		}
		return conn, socket, refusal, nil
	}
}

// Limit returns a listener whose connections count against the limits, for NewServer.
func Limit(l net.Listener, config *modes.Config) net.Listener { return limited{l, config} }

type limited struct {
	net.Listener
	config *modes.Config
}

func (l limited) Accept() (net.Conn, error) {
	conn, socket, refusal, err := Accept(l.Listener, l.config)
	if err != nil {
		return nil, err
	}
	c := &limitedConn{Conn: conn}
	c.admitted = l.config.Admission.Plain(socket, refusal, func() { _ = c.Close() })
	return c, nil
}

type limitedConn struct {
	net.Conn
	admitted *admission.Plain
}

func (c *limitedConn) Admitted() *admission.Plain { return c.admitted }

func (c *limitedConn) Close() error {
	defer c.admitted.Close()
	return c.Conn.Close()
}
