//go:build linux

package optimized

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net/http"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var (
	// errPlain ends an upgrade whose request is for net/http.
	errPlain = errors.New("optimized: no websocket endpoint")
	// errGood ends an upgrade that is to be answered with a 101. The Upgrader
	// would write one, at the cost of the only allocation of a handshake:
	// bufio.Writer.WriteString makes the accept value escape.
	errGood = errors.New("optimized: good handshake")
)

// handshaker runs gobwas/ws's Upgrader over a complete request in memory. Its
// callbacks keep what they see in the handshaker, so that a handshake allocates
// nothing; it belongs to one loop.
type handshaker struct {
	engine   *Engine
	upgrader ws.Upgrader
	request  bytes.Reader
	response []byte        // the answer
	came     modes.Instant // when the request had come
	key      []byte        // the request's Sec-WebSocket-Key
	offered  handshake.Subprotocols
	// extension accepts the offer of permessage-deflate; empty: there is none.
	extension string
	malformed bool // the request has a malformed Sec-WebSocket-Extensions header

	requests *bufio.Reader // for requests of streams over HTTP
	share    string        // headers for the response to one, whatever it is

	protocol wire.Protocol
	query    []byte
	host     []byte
	origin   []byte

	// Where limits hold for one address: the socket, what proxies say of the
	// client, and whose connection it counts as.
	fd        int32
	forwarded []string
	address   admission.Address

	// authorization is kept if tokens are needed: the first header, if authorized.
	authorization []byte
	authorized    bool
}

func newHandshaker(e *Engine) *handshaker {
	h := &handshaker{engine: e, requests: bufio.NewReader(nil)}
	h.upgrader = ws.Upgrader{
		ReadBufferSize: e.Limits.HeaderSize(),
		OnRequest: func(uri []byte) error {
			path, query, _ := bytes.Cut(uri, []byte{'?'})
			protocol, ok := handshake.Endpoint(string(path), e.Echo)
			if !ok {
				return errPlain
			}
			h.protocol, h.query = protocol, append(h.query[:0], query...)
			return nil
		},
		OnHost: func(host []byte) error {
			h.host = append(h.host[:0], host...)
			return nil
		},
		OnHeader: func(key, value []byte) error {
			if string(key) == "Origin" {
				h.origin = append(h.origin[:0], value...)
			} else if e.Rules.Tokens != nil && !h.authorized && string(key) == "Authorization" {
				h.authorized, h.authorization = true, append(h.authorization, value...)
			} else if name := e.Admission.ForwardedHeader(); name != "" && string(key) == name {
				h.forwarded = append(h.forwarded, string(value))
			}
			return nil
		},
		// What is left to decide is so for requests that net/http has read, too.
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) { return nil, errGood },
	}
	return h
}

func (h *handshaker) admit() *admission.Refusal {
	if h.engine.draining.Load() {
		return handshake.RefusedDraining
	}
	if h.engine.Admission.PerAddress() {
		var refusal *admission.Refusal
		if h.address, refusal = h.engine.Admission.Add(peerAddress(h.fd), h.forwarded); refusal != nil {
			return refusal
		}
	}
	// Most origins are the host's own; those need no strings made of them.
	if len(h.origin) == 0 || h.engine.Admission.SameHostOnly() && ownOrigin(h.origin, h.host) {
		return h.engine.Admission.Admit("", "")
	}
	return h.engine.Admission.Admit(string(h.host), string(h.origin))
}

// ownOrigin tells whether an Origin header is plainly that of a page on host. Where
// it says no, the door looks closer.
func ownOrigin(origin, host []byte) bool {
	scheme, rest, ok := bytes.Cut(origin, []byte("://"))
	if !ok || !isName(scheme, "http") && !isName(scheme, "https") || !bytes.EqualFold(rest, host) {
		return false
	}
	name, port, _ := bytes.Cut(host, []byte{':'})
	for _, b := range port {
		if b < '0' || b > '9' {
			return false
		}
	}
	for _, b := range name {
		if b != '.' && !nameBytes[b] {
			return false
		}
	}
	return len(name) > 0
}

// Read and Write make the handshaker what the Upgrader reads from and writes to.
func (h *handshaker) Read(p []byte) (int, error) { return h.request.Read(p) }

func (h *handshaker) Write(p []byte) (int, error) {
	h.response = append(h.response, p...)
	return len(p), nil
}

var _ io.ReadWriter = (*handshaker)(nil)

// run reads one request. Without error h.response is the 101, or 200, and h.protocol
// and h.query are set; errPlain says that the request is for net/http; a *Refusal
// is why the client is not let in.
func (h *handshaker) run(fd int32, request []byte) error {
	h.reset(fd)
	protocol, stream := h.stream(request)
	if !h.inspect(request) {
		return errPlain
	}
	if stream {
		return h.runStream(protocol, request)
	}
	h.request.Reset(request)
	_, err := h.upgrader.Upgrade(h)
	h.request.Reset(nil)
	if err != errGood { //nolint:errorlint // the cost of it, on every handshake
		// net/http answers what is no handshake, or no good one.
		return errPlain
	}
	return h.decide()
}

// load is run for a request to an endpoint of protocol p that net/http has read, and
// that obeys handshake.Check or CheckStream.
func (h *handshaker) load(fd int32, request *http.Request, p wire.Protocol) error {
	h.reset(fd)
	if p.OverHTTP() {
		return h.loadStream(request, p)
	}
	h.loadCommon(request, p)
	h.key = append(h.key, request.Header.Get("Sec-WebSocket-Key")...)
	for _, value := range request.Header["Sec-Websocket-Protocol"] {
		h.offered.Add([]byte(value))
	}
	if h.engine.Compression {
		for _, value := range request.Header["Sec-Websocket-Extensions"] {
			h.offerExtensions([]byte(value))
		}
	}
	return h.decide()
}

// loadCommon takes from a request what handshakes and streams have.
func (h *handshaker) loadCommon(request *http.Request, p wire.Protocol) {
	h.protocol, h.query = p, append(h.query, request.URL.RawQuery...)
	h.host, h.origin = append(h.host, request.Host...), append(h.origin, request.Header.Get("Origin")...)
	if name := h.engine.Admission.ForwardedHeader(); name != "" {
		h.forwarded = append(h.forwarded, request.Header[name]...)
	}
	if h.engine.Rules.Tokens != nil {
		h.authorization = append(h.authorization, request.Header.Get("Authorization")...)
	}
}

// reset makes the handshaker one that has seen nothing.
func (h *handshaker) reset(fd int32) {
	h.fd, h.forwarded, h.address = fd, h.forwarded[:0], admission.Address{}
	h.share, h.extension, h.malformed = "", "", false
	h.offered = handshake.Subprotocols{}
	h.authorized, h.authorization = false, h.authorization[:0]
	h.response, h.key = h.response[:0], h.key[:0]
	h.query, h.host, h.origin = h.query[:0], h.host[:0], h.origin[:0]
}

// offerExtensions reads one Sec-WebSocket-Extensions header.
func (h *handshaker) offerExtensions(value []byte) {
	accepted, valid := wire.AcceptDeflate(value)
	h.malformed = h.malformed || !valid
	if h.extension == "" {
		h.extension = accepted
	}
}

// decide decides on a handshake that obeys RFC 6455 section 4.2.1.
func (h *handshaker) decide() error {
	if h.malformed {
		return handshake.RefusedExtensions
	}
	if refusal := h.admit(); refusal != nil {
		return refusal
	}
	var subprotocol string
	h.protocol, subprotocol = handshake.Negotiate(h.protocol, h.offered, string(h.query))
	h.accept(subprotocol)
	return nil
}

// accept makes h.response the 101 (RFC 6455 section 4.2.2) for a request that is
// good.
func (h *handshaker) accept(subprotocol string) {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	h.key = append(h.key, guid...)
	sum := sha1.Sum(h.key)
	h.response = append(h.response[:0], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	h.response = base64.StdEncoding.AppendEncode(h.response, sum[:])
	if subprotocol != "" {
		h.response = append(append(h.response, "\r\nSec-WebSocket-Protocol: "...), subprotocol...)
	}
	if h.extension != "" {
		h.response = append(append(h.response, "\r\nSec-WebSocket-Extensions: "...), h.extension...)
	}
	h.response = append(h.response, "\r\n\r\n"...)
}
