package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tandem-ws/tandem/reliability/frame"
)

const (
	dialLimit  = 15 * time.Second // for the connection and the answer to the request
	bufferSize = 2 << 10
)

// errNoDeflate means that the server did not agree to compress.
var errNoDeflate = errors.New("client: the server does not compress")

// opened is a connection whose request has been answered.
type opened struct {
	net.Conn
	in *bufio.Reader
}

func (m *client) dial(ctx context.Context, attempts int) (*opened, error) {
	o := &m.pool.options
	targets := *m.pool.targets.Load()
	target := targets[(int(m.number)+attempts)%len(targets)]
	dialer := net.Dialer{Timeout: dialLimit, KeepAlive: -1}
	if from := o.From.To4(); from != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(from[0], from[1], from[2], from[3]+byte(int(m.number)%max(o.Sources, 1)))}
	}
	conn, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		conn = tls.Client(conn, o.TLS)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	in, err := m.open(conn, target)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &opened{conn, in}, nil
}

// open sends the request that the client's protocol starts with.
func (m *client) open(conn net.Conn, host string) (*bufio.Reader, error) {
	if err := conn.SetDeadline(time.Now().Add(dialLimit)); err != nil {
		return nil, err
	}
	path, headers := m.request()
	var in *bufio.Reader
	var answer http.Header
	var err error
	if m.kind.Protocol.overHTTP() {
		in, answer, err = frame.Open(conn, frame.Get(host, path, headers...), bufferSize, http.StatusOK)
	} else {
		in, answer, err = frame.Upgrade(conn, host, path, bufferSize, headers...)
	}
	if err != nil {
		return nil, err
	}
	if m.kind.Deflate && answer.Get("Sec-WebSocket-Extensions") != frame.AgreedDeflate {
		m.broken(errNoDeflate.Error())
		return nil, errNoDeflate
	}
	return in, conn.SetDeadline(time.Time{})
}

// protobufSubprotocol is the subprotocol of clients that speak protobuf.
const protobufSubprotocol = "centrifuge-protobuf"

// request returns the path and the headers of the request. Protocols without commands
// have channels and tokens in the query.
func (m *client) request() (path string, headers []string) {
	if m.kind.Deflate {
		headers = append(headers, frame.OfferDeflate)
	}
	if m.kind.Protocol == Protobuf {
		headers = append(headers, "Sec-WebSocket-Protocol: "+protobufSubprotocol)
	}
	if m.kind.Protocol.hasCommands() {
		return frame.Centrifuge, headers
	}
	query := url.Values{}
	for i := range m.subscriptions {
		query.Add("channel", m.subscriptions[i].name)
		if token := m.pool.options.Token(m.subscriptions[i].name); token != "" {
			query.Add("token", token)
		}
	}
	if token := m.pool.options.Token(""); token != "" {
		headers = append(headers, "Authorization: Bearer "+token)
	}
	path = map[Protocol]string{Raw: frame.Raw, SSE: frame.SSE, Stream: frame.Stream}[m.kind.Protocol]
	return fmt.Sprintf("%s?%s", path, query.Encode()), headers
}
