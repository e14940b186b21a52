// Package api serves the HTTP API for back ends, in the shape of Centrifugo's.
package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Bounds of one request.
const (
	maxBody         = 16 << 20 // bytes
	maxPublications = 10_000
)

// Publisher is the part of the bus that the API needs.
type Publisher interface {
	PublishForBackEnd(channel string, data []byte, done func(error))
}

// Disconnecter is the part of the engine that the API needs.
type Disconnecter interface {
	Disconnect(client string, d wire.Disconnect) bool
}

// Options are what the API works with. All are required.
type Options struct {
	Key      string
	Bus      Publisher
	Engine   Disconnecter
	Rules    session.Rules
	Stats    *modes.Stats
	Channels func() int // returns the number of channels that the node is subscribed to
	Node     NodeInfo
}

// API is the HTTP API of one node. Its endpoints may be called concurrently.
type API struct {
	Options
	key     [sha256.Size]byte
	started time.Time
	methods map[string]method
}

// New returns the API of a node that starts now.
func New(o Options) *API {
	a := &API{Options: o, key: sha256.Sum256([]byte(o.Key)), started: time.Now()}
	a.methods = map[string]method{
		"publish":    a.publish,
		"broadcast":  a.broadcast,
		"disconnect": a.disconnect,
		"info":       a.info,
	}
	for _, name := range unavailable {
		a.methods[name] = notAvailable
	}
	return a
}

// NodeInfo is what /api/info returns about a node.
type NodeInfo struct {
	UID         string `json:"uid"`
	Name        string `json:"name"`
	Version     string `json:"version"`
	Mode        string `json:"mode"`
	NumClients  int64  `json:"num_clients"`
	NumUsers    int64  `json:"num_users"`
	NumSubs     int64  `json:"num_subs"`
	NumChannels int    `json:"num_channels"`
	Uptime      int64  `json:"uptime"` // seconds
}

// Register adds the API's endpoints to mux.
func (a *API) Register(mux *http.ServeMux) {
	for name := range a.methods {
		mux.Handle("POST /api/"+name, a.endpoint(func(r *http.Request, body []byte) (int, any) {
			return http.StatusOK, a.call(r.Context(), name, body)()
		}))
	}
	mux.Handle("POST /api/batch", a.endpoint(a.batch))
	mux.Handle("POST /api", a.endpoint(a.commands))
	mux.Handle("POST /api/{$}", a.endpoint(a.commands))
}

// endpoint checks the key before it reads anything, and bounds what it reads.
func (a *API) endpoint(answer func(r *http.Request, body []byte) (status int, reply any)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.authorized(r.Header) {
			write(w, http.StatusUnauthorized, reply{Error: wire.ErrorUnauthorized})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var tooBig *http.MaxBytesError
		switch {
		case errors.As(err, &tooBig):
			write(w, http.StatusRequestEntityTooLarge,
				failure(wire.ErrorLimitExceeded, fmt.Sprintf("the body is longer than %d bytes", maxBody)))
		case err != nil:
			write(w, http.StatusBadRequest, failure(wire.ErrorBadRequest, "the body did not arrive"))
		default:
			status, reply := answer(r, body)
			write(w, status, reply)
		}
	})
}

// authorized compares digests, so that the time it takes depends on neither the
// content nor the length of the key.
func (a *API) authorized(h http.Header) bool {
	key := h.Get("X-API-Key")
	if scheme, rest, ok := strings.Cut(h.Get("Authorization"), " "); key == "" && ok && strings.EqualFold(scheme, "apikey") {
		key = strings.TrimSpace(rest)
	}
	given := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(given[:], a.key[:]) == 1
}

// failure is an error reply with the code of e and a message that says more.
func failure(e *protocol.Error, detail string) reply {
	return reply{Error: &protocol.Error{Code: e.Code, Message: e.Message + ": " + detail}}
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	// Errors mean that the caller has gone, and cannot be told.
	if replies, several := body.([]commandReply); several {
		for _, r := range replies {
			_ = encoder.Encode(r)
		}
		return
	}
	_ = encoder.Encode(body)
}
