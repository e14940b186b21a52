//go:build linux

package optimized

import (
	"bytes"
	"net/http"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// stream returns the protocol over HTTP that a request opens. It looks at the
// first line only.
func (h *handshaker) stream(request []byte) (wire.Protocol, bool) {
	target, ok := bytes.CutPrefix(request, []byte(http.MethodGet+" "))
	if !ok {
		return 0, false
	}
	target, _, _ = bytes.Cut(target, []byte{' '})
	path, _, _ := bytes.Cut(target, []byte{'?'})
	protocol, ok := handshake.Endpoint(string(path), h.engine.Echo)
	return protocol, ok && protocol.OverHTTP()
}

// runStream is run for a request that opens a connection over HTTP. h.response is
// the 200.
func (h *handshaker) runStream(protocol wire.Protocol, received []byte) error {
	h.request.Reset(received)
	h.requests.Reset(&h.request)
	request, err := http.ReadRequest(h.requests)
	h.request.Reset(nil)
	if err != nil || !hostGiven(request, received) {
		// net/http refuses it, with the reason.
		return errPlain
	}
	return h.loadStream(request, protocol)
}

// loadStream is load for a stream over HTTP.
func (h *handshaker) loadStream(request *http.Request, protocol wire.Protocol) error {
	h.loadCommon(request, protocol)
	host, origin := request.Host, request.Header.Get("Origin")
	header := make(http.Header)
	handshake.Share(h.engine.Admission, header, host, origin)
	h.share = lines(header)
	if refusal := h.admit(); refusal != nil {
		return refusal
	}
	h.response = append(h.response[:0], "HTTP/1.1 200 OK\r\n"...)
	h.response = append(h.response, lines(handshake.StreamHeader(h.engine.Admission, protocol, host, origin))...)
	h.response = append(h.response, "\r\n"...)
	return nil
}

// hostGiven tells whether a request has one Host header, or none where it need not
// (RFC 9112 section 3.2). http.ReadRequest does not look.
func hostGiven(request *http.Request, received []byte) bool {
	hosts := 0
	for rest := received; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		if _, ok := header(line, "Host"); ok {
			hosts++
		}
	}
	return hosts == 1 || hosts == 0 && !request.ProtoAtLeast(1, 1)
}

// header returns the value of a header line of this name.
func header(line []byte, name string) (value []byte, ok bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !isName(line[:len(name)], name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name)+1:]), true
}

// lines are headers as they go over the wire.
func lines(h http.Header) string {
	var b strings.Builder
	// Writing to a strings.Builder does not fail.
	_ = h.Write(&b)
	return b.String()
}

// keepAlive shows a silent connection over HTTP, and what is in between, that it
// is not dead.
func (l *loop) keepAlive(index uint32, r *record) {
	interval := l.engine.Limits.PingInterval
	if interval == 0 {
		return
	}
	l.wheel.arm(index, interval)
	if r.out != none {
		// There is something on its way already.
		return
	}
	frame := l.engine.pings[r.protocol]
	l.engine.Stats.FramesOut.Add(1)
	l.engine.Stats.BytesOut.Add(uint64(len(frame)))
	l.write(index, r, frame, true)
}

// watchAcknowledged has the kernel end a connection over HTTP whose peer does not
// acknowledge what it is sent, be it only what keeps it alive, for as long as
// others have to answer a ping: it has no answer of its own.
func (l *loop) watchAcknowledged(r *record) {
	limits := &l.engine.Limits
	if limits.PingInterval > 0 {
		// Without it the kernel gives up after a quarter of an hour.
		_ = unix.SetsockoptInt(int(r.fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT,
			int((limits.PingInterval + limits.PongTimeout).Milliseconds()))
	}
}
