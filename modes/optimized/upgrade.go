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
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/wire"
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
	deflate  bool          // the request offers permessage-deflate
	garbled  bool          // it has a Sec-WebSocket-Extensions header that is none

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
	address   modes.Address

	// authorization is kept where tokens are needed.
	authorization []byte
}

func newHandshaker(e *Engine) *handshaker {
	h := &handshaker{engine: e, requests: bufio.NewReader(nil)}
	h.upgrader = ws.Upgrader{
		ReadBufferSize: modes.MaxRequestHeader,
		OnRequest: func(uri []byte) error {
			path, query, _ := bytes.Cut(uri, []byte{'?'})
			protocol, ok := e.Door.Endpoint(string(path))
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
			} else if e.Rules.Tokens != nil && string(key) == "Authorization" {
				h.authorization = append(h.authorization[:0], value...)
			} else if name := e.Door.ForwardedHeader(); name != "" && string(key) == name {
				h.forwarded = append(h.forwarded, string(value))
			}
			return nil
		},
		Protocol: func(name []byte) bool {
			if h.protocol.Session() && string(name) == wire.ProtobufSubprotocol {
				h.protocol = wire.Protobuf
				return true
			}
			return false
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if h.garbled {
				return nil, modes.RefusedExtensions
			}
			if refusal := h.admit(); refusal != nil {
				return nil, refusal
			}
			return nil, errGood
		},
	}
	return h
}

func (h *handshaker) admit() *modes.Refusal {
	if h.engine.draining.Load() {
		return modes.RefusedDraining
	}
	if h.engine.Door.PerAddress() {
		var refusal *modes.Refusal
		if h.address, refusal = h.engine.Door.Enter(peerAddress(h.fd), h.forwarded); refusal != nil {
			return refusal
		}
	}
	// Most origins are the host's own; those need no strings made of them.
	if len(h.origin) == 0 || h.engine.Door.SameHost() && ownOrigin(h.origin, h.host) {
		return h.engine.Door.Admit("", "")
	}
	return h.engine.Door.Admit(string(h.host), string(h.origin))
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

// run reads one request. Without error h.response is the 101, or 200, and h.protocol and
// h.query are set; errPlain says that the request is for net/http; a *Refusal
// is why the client is not let in.
func (h *handshaker) run(fd int32, request []byte) error {
	h.fd, h.forwarded, h.address = fd, h.forwarded[:0], modes.Address{}
	h.share, h.deflate = "", false
	h.authorization = h.authorization[:0]
	if protocol, ok := h.stream(request); ok {
		return h.runStream(protocol, request)
	}
	if !h.inspect(request) {
		return errPlain
	}
	h.request.Reset(request)
	h.response = h.response[:0]
	h.query, h.host, h.origin = h.query[:0], h.host[:0], h.origin[:0]
	handshake, err := h.upgrader.Upgrade(h)
	h.request.Reset(nil)
	if err == errGood { //nolint:errorlint // the cost of it, on every handshake
		h.accept(handshake.Protocol)
		return nil
	}
	if refusal := (*modes.Refusal)(nil); errors.As(err, &refusal) {
		return refusal
	}
	// net/http answers what is no handshake, or no good one.
	return errPlain
}

// accept makes h.response the 101 (RFC 6455 section 4.2.2) for a request that the
// Upgrader has found good.
func (h *handshaker) accept(subprotocol string) {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	h.key = append(h.key, guid...)
	sum := sha1.Sum(h.key)
	h.response = append(h.response[:0], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	h.response = base64.StdEncoding.AppendEncode(h.response, sum[:])
	if subprotocol != "" {
		h.response = append(append(h.response, "\r\nSec-WebSocket-Protocol: "...), subprotocol...)
	}
	if h.deflate {
		h.response = append(h.response, "\r\nSec-WebSocket-Extensions: "+wire.DeflateResponse...)
	}
	h.response = append(h.response, "\r\n\r\n"...)
}

// request takes bytes of a request, and acts on it once its headers are
// complete.
func (l *loop) request(index uint32, r *record, data []byte) {
	if r.in == none {
		if end := headEnd(data); end >= 0 {
			l.upgrade(index, r, data, end, true)
			return
		}
		r.in = l.inputs.add(&input{connection: handle{index, r.generation}})
	}
	in := l.inputs.items[r.in]
	from := max(0, len(in.bytes)-len("\n\r\n")+1)
	in.bytes = append(in.bytes, data...)
	if end := headEnd(in.bytes[from:]); end >= 0 {
		received := in.bytes
		l.discardInput(r)
		l.upgrade(index, r, received, from+end, true)
		return
	}
	if len(in.bytes) > modes.MaxRequestHeader {
		l.refuse(index, r, modes.RefusedTooLarge)
	}
}

// upgrade acts on a complete request: the first size bytes of received. What
// follows it was sent ahead, and is not lost. plain says whether net/http may have
// it; what comes from there must not go back.
func (l *loop) upgrade(index uint32, r *record, received []byte, size int, plain bool) {
	if size > modes.MaxRequestHeader {
		l.refuse(index, r, modes.RefusedTooLarge)
		return
	}
	h := l.handshaker
	h.came = modes.Now()
	err := h.run(r.fd, received[:size])
	if h.address != (modes.Address{}) {
		l.addresses[index] = h.address
	}
	var refusal *modes.Refusal
	switch {
	case err == nil:
		r.protocol, r.deflate = h.protocol, h.deflate
		if len(h.query) > 0 {
			r.protocol = modes.Encoding(r.protocol, string(h.query))
		}
		if r.protocol.ByQuery() {
			l.upgradeByQuery(index, r, received[size:])
			return
		}
		l.respond(index, r, h.response)
		l.opened(index, r)
		l.engine.Stats.HandshakeTime.Observe(h.came.Seconds())
		if rest := received[size:]; len(rest) > 0 && !r.hurt {
			l.messages(index, r, rest)
		}
	case errors.As(err, &refusal):
		l.refuseWith(index, r, refusal, h.share)
	case plain:
		l.handOver(index, r, received)
	default:
		l.refuse(index, r, modes.RefusedUpgrade)
	}
}

// opened makes the connection an upgraded one.
func (l *loop) opened(index uint32, r *record) {
	r.state = open
	l.engine.Stats.Connections[r.protocol].Add(1)
	l.engine.accepted[r.protocol].Inc()
	wait := l.engine.Limits.HandshakeTimeout
	if !r.protocol.Session() {
		wait = l.engine.Limits.PingInterval
	}
	l.wheel.arm(index, wait)
	if r.protocol.OverHTTP() {
		l.watchAcknowledged(r)
	}
}

// upgradeByQuery asks for the channels of a connection that names them in its
// query; the 101, or 200, goes out once Redis has confirmed them all.
func (l *loop) upgradeByQuery(index uint32, r *record, ahead []byte) {
	channels, refusal := l.engine.Door.Channels(string(l.handshaker.query))
	if refusal != nil {
		l.refuseWith(index, r, refusal, l.handshaker.share)
		return
	}
	r.state, r.deaf = waiting, r.protocol.OverHTTP()
	l.wheel.disarm(index)
	if len(ahead) > 0 && !r.deaf {
		l.stash(index, r, ahead)
	}
	response, share, came := bytes.Clone(l.handshaker.response), l.handshaker.share, l.handshaker.came
	l.authorize(index, r, channels, func(expires time.Time) {
		l.ask(index, r, false, func(err error) {
			if err != nil {
				l.refuseWith(index, r, modes.RefusedUnavailable, share)
				return
			}
			l.respond(index, r, response)
			l.opened(index, r)
			l.engine.Stats.HandshakeTime.Observe(came.Seconds())
			if !expires.IsZero() && r.state == open {
				l.expireAt(l.ledger(index, true), expires)
			}
		}, channels...)
	})
}

// authorize goes on with a connection by query whose tokens allow it the channels,
// and refuses others. It may do so later.
func (l *loop) authorize(index uint32, r *record, channels []string, then func(expires time.Time)) {
	tokens := l.engine.Rules.Tokens
	if tokens == nil {
		then(time.Time{})
		return
	}
	door, h, share := l.engine.Door, handle{index, r.generation}, l.handshaker.share
	query, authorization := string(l.handshaker.query), string(l.handshaker.authorization)
	decide := func(expires time.Time, refusal *modes.Refusal) {
		if refusal != nil {
			l.refuseWith(index, r, refusal, share)
			return
		}
		then(expires)
	}
	if !tokens.Costly() {
		decide(door.Authorize(query, authorization, channels))
		return
	}
	finish := func(expires time.Time, refusal *modes.Refusal) {
		l.inbox.post(func() {
			if r := l.slab.find(h); r != nil && r.state == waiting && !r.hurt {
				decide(expires, refusal)
				if r.state == open {
					l.unstash(index, r)
					l.flush(index, r)
				}
			}
		})
	}
	if err := l.engine.pool.Schedule(func(err error) {
		if err != nil {
			finish(time.Time{}, modes.RefusedBusy)
			return
		}
		finish(door.Authorize(query, authorization, channels))
	}); err != nil {
		finish(time.Time{}, modes.RefusedBusy)
	}
}

// stash keeps what a client sends before its 101, which few do.
func (l *loop) stash(index uint32, r *record, data []byte) {
	if r.in == none {
		r.in = l.inputs.add(&input{connection: handle{index, r.generation}, due: never})
	}
	in := l.inputs.items[r.in]
	if in.bytes = append(in.bytes, data...); len(in.bytes) > modes.MaxRequestHeader {
		l.refuse(index, r, modes.RefusedTooLarge)
	}
}

// unstash hands on what was stashed.
func (l *loop) unstash(index uint32, r *record) {
	if r.in == none || r.hurt {
		return
	}
	stashed := l.inputs.items[r.in].bytes
	l.discardInput(r)
	l.messages(index, r, stashed)
}

// respond writes an HTTP response. A socket that does not take these few bytes
// at once is not worth keeping.
func (l *loop) respond(index uint32, r *record, response []byte) {
	if l.security != nil {
		if !l.seal(index, r, response) || !l.transmit(index, r) {
			l.hurtBy(index, r, modes.ReasonGone)
		}
		return
	}
	if n, errno := writeSocket(r.fd, response); errno != 0 || n < len(response) {
		l.hurtBy(index, r, modes.ReasonGone)
	}
}

// refuse answers a handshake with a refusal and closes the connection.
func (l *loop) refuse(index uint32, r *record, refusal *modes.Refusal) {
	l.refuseWith(index, r, refusal, "")
}

// refuseWith is refuse with more headers in the answer.
func (l *loop) refuseWith(index uint32, r *record, refusal *modes.Refusal, headers string) {
	l.engine.Door.Refuse(refusal)
	l.leaveAddress(index)
	l.respond(index, r, refusalResponse(refusal, headers))
	l.turnAway(index, r)
}

// turnAway closes a connection whose response is written, and which has been
// counted.
func (l *loop) turnAway(index uint32, r *record) {
	if r.hurt {
		return
	}
	l.leaveAll(r)
	r.state, r.deaf = closing, true
	l.wheel.arm(index, modes.CloseWait)
	l.sentAll(index, r)
}

func refusalResponse(refusal *modes.Refusal, headers string) []byte {
	body := refusal.Error() + "\n"
	return []byte("HTTP/1.1 " + strconv.Itoa(refusal.Status) + " " + http.StatusText(refusal.Status) +
		"\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n" + headers +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}
