package idiomatic

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/liveness"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// stream is the response to a request over HTTP, as long as it lasts. The
// connection's writer alone uses it: it is the handler's own goroutine. There is
// no reader: net/http reads ahead, and cancels the request's context once the
// client is gone.
type stream struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

// serveStream answers a request for a connection over HTTP; it returns when that
// has ended.
func (e *Engine) serveStream(w http.ResponseWriter, r *http.Request, p wire.Protocol) {
	if r.Method != http.MethodGet {
		handshake.StreamOnly(e.config.Admission, e.stats, w, r)
		return
	}
	if refusal := e.stream(w, r, p); refusal != nil {
		handshake.RefuseStream(e.config.Admission, e.stats, w, r, refusal)
	}
}

func (e *Engine) stream(w http.ResponseWriter, r *http.Request, p wire.Protocol) *admission.Refusal {
	s := socketOf(r)
	s.deaf.Store(true)
	if refusal := handshake.CheckStream(r); refusal != nil {
		return refusal
	}
	handshake.Unlimited(w)
	c, refusal := e.enter(r, p)
	if refusal != nil {
		return refusal
	}
	c.stream = &stream{w, http.NewResponseController(w)}
	maps.Copy(w.Header(), handshake.StreamHeader(e.config.Admission, p, r.Host, r.Header.Get("Origin")))
	s.patience.Store(int64(liveness.WriteTimeout(&e.limits)))
	// The stream's end is the connection's, as the header says.
	w.Header().Set("Transfer-Encoding", "identity")
	w.WriteHeader(http.StatusOK)
	if c.flushStream() != nil {
		e.stats.Refused.WithLabelValues(modes.ReasonGone).Inc()
		c.stillborn()
		return nil
	}
	c.opened()
	stop := context.AfterFunc(r.Context(), func() { c.close(s.goneEnding()) })
	defer stop()
	s.watchAcknowledged(&e.limits)
	// As if there were a reader, who has left already.
	c.leave()
	c.write()
	return nil
}

// writeStream writes one message, which flushStream sends.
func (c *connection) writeStream(m *message) error {
	_, err := c.stream.w.Write(m.payload)
	return err
}

// flushStream sends what was written; it does nothing on a WebSocket.
func (c *connection) flushStream() error {
	if c.stream == nil {
		return nil
	}
	return c.stream.controller.Flush()
}

// keepAlive shows a silent stream, and what is in between, that it is not dead.
func (c *connection) keepAlive() error {
	frame := wire.PingFrame(c.protocol)
	c.engine.stats.FramesOut.Add(1)
	c.engine.stats.BytesOut.Add(uint64(len(frame)))
	if err := c.writeStream(&message{payload: frame}); err != nil {
		return err
	}
	return c.flushStream()
}

// farewellStream sends the last message, if there is one. The handler's return
// ends the response.
func (c *connection) farewellStream(e *ending) {
	frame := wire.EndFrame(c.protocol, e.disconnect)
	if e.frame != nil && frame != nil && c.writeStream(&message{payload: frame}) == nil {
		c.engine.stats.FramesOut.Add(1)
		c.engine.stats.BytesOut.Add(uint64(len(frame)))
	}
	if c.flushStream() != nil {
		c.socket.reset()
	}
}

// ignore reads what comes behind a request that is the last, until there is no
// more. first is what one read has brought already.
func (s *socket) ignore(n int, err error) (int, error) {
	var buffer [512]byte
	for unheard := 0; err == nil; unheard++ {
		s.stats.BytesIn.Add(uint64(n))
		if unheard == handshake.MaxDiscardedReads {
			err = errUnheard
			break
		}
		n, err = s.receive(buffer[:])
	}
	s.gone.Store(&err)
	return 0, err
}

// errUnheard says that a client sends on and on where nobody listens.
var errUnheard = &violation{wire.DisconnectBadRequest}

// goneEnding is how a stream ends whose request was canceled: the client is gone,
// or net/http ends with the engine.
func (s *socket) goneEnding() *ending {
	err := s.gone.Load()
	var v *violation
	switch {
	case err == nil:
		return &ending{reason: wire.DisconnectShutdown.Reason}
	case errors.As(*err, &v):
		return &ending{reason: v.disconnect.Reason}
	case errors.Is(*err, io.EOF):
		return &ending{reason: modes.ReasonClientClosed, flush: true}
	}
	return &ending{reason: modes.ReasonReset}
}
