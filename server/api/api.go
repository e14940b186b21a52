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

// What one request to the server API may ask for.
const (
	maxAPIBody           = 16 << 20 // bytes
	maxBroadcastChannels = 10_000
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
}

// New returns the API of a node that starts now.
func New(o Options) *API {
	return &API{Options: o, key: sha256.Sum256([]byte(o.Key)), started: time.Now()}
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

// apiReply is the body of every answer: a result or an error.
type apiReply struct {
	Result any             `json:"result,omitempty"`
	Error  *protocol.Error `json:"error,omitempty"`
}

type (
	empty         struct{}
	publishResult struct {
		Result *empty          `json:"result,omitempty"`
		Error  *protocol.Error `json:"error,omitempty"`
	}
	broadcastResult struct {
		Responses []publishResult `json:"responses"`
	}
	infoResult struct {
		Nodes []NodeInfo `json:"nodes"`
	}
)

// Register adds the API's endpoints to mux.
func (a *API) Register(mux *http.ServeMux) {
	for path, call := range map[string]func(*http.Request, []byte) apiReply{
		"/api/publish":    a.publish,
		"/api/broadcast":  a.broadcast,
		"/api/info":       a.info,
		"/api/disconnect": a.disconnect,
	} {
		mux.Handle("POST "+path, a.endpoint(call))
	}
}

// endpoint checks the key before it reads anything, and bounds what it reads.
func (a *API) endpoint(call func(*http.Request, []byte) apiReply) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.authorized(r.Header) {
			writeReply(w, http.StatusUnauthorized, apiReply{Error: wire.ErrorUnauthorized})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIBody))
		var tooBig *http.MaxBytesError
		switch {
		case errors.As(err, &tooBig):
			writeReply(w, http.StatusRequestEntityTooLarge,
				failure(wire.ErrorLimitExceeded, fmt.Sprintf("the body is longer than %d bytes", maxAPIBody)))
		case err != nil:
			writeReply(w, http.StatusBadRequest, failure(wire.ErrorBadRequest, "the body did not arrive"))
		default:
			writeReply(w, http.StatusOK, call(r, body))
		}
	})
}

// authorized compares digests, so that neither content nor length of the key
// shows in the time it takes.
func (a *API) authorized(h http.Header) bool {
	key := h.Get("X-API-Key")
	if scheme, rest, ok := strings.Cut(h.Get("Authorization"), " "); key == "" && ok && strings.EqualFold(scheme, "apikey") {
		key = strings.TrimSpace(rest)
	}
	given := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(given[:], a.key[:]) == 1
}

// payload is what a back end publishes: JSON, or bytes in base64.
type payload struct {
	Data    json.RawMessage `json:"data"`
	B64Data []byte          `json:"b64data"`
}

func (p payload) bytes() []byte {
	if len(p.B64Data) > 0 {
		return p.B64Data
	}
	return p.Data
}

func (a *API) publish(r *http.Request, body []byte) apiReply {
	var request struct {
		Channel string `json:"channel"`
		payload
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return failure(wire.ErrorBadRequest, err.Error())
	}
	if fault := a.fault(request.Channel, request.bytes()); fault != "" {
		return failure(wire.ErrorBadRequest, fault)
	}
	result := a.send(r, []string{request.Channel}, request.bytes())[0]
	if result.Error != nil {
		return apiReply{Error: result.Error}
	}
	return apiReply{Result: empty{}}
}

func (a *API) broadcast(r *http.Request, body []byte) apiReply {
	var request struct {
		Channels []string `json:"channels"`
		payload
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return failure(wire.ErrorBadRequest, err.Error())
	}
	switch {
	case len(request.Channels) == 0:
		return failure(wire.ErrorBadRequest, "channels is empty")
	case len(request.Channels) > maxBroadcastChannels:
		return failure(wire.ErrorLimitExceeded, fmt.Sprintf("more than %d channels", maxBroadcastChannels))
	}
	for _, channel := range request.Channels {
		if fault := a.fault(channel, request.bytes()); fault != "" {
			return failure(wire.ErrorBadRequest, fault)
		}
	}
	return apiReply{Result: broadcastResult{a.send(r, request.Channels, request.bytes())}}
}

// fault says in one line why nothing can be published so; empty: it can.
func (a *API) fault(channel string, data []byte) string {
	switch {
	case channel == "":
		return "channel is missing"
	case !a.Rules.ValidChannel(channel):
		return fmt.Sprintf("channel is no name: 1 to %d bytes of UTF-8 without control characters", a.Rules.MaxChannelLength)
	case len(data) == 0:
		return "data is missing"
	}
	return ""
}

// send publishes data to all channels at once and waits until Redis has
// accepted each, or the caller has gone.
func (a *API) send(r *http.Request, channels []string, data []byte) []publishResult {
	type outcome struct {
		index int
		err   error
	}
	outcomes := make(chan outcome, len(channels))
	for i, channel := range channels {
		a.Bus.PublishForBackEnd(channel, data, func(err error) { outcomes <- outcome{i, err} })
	}
	results := make([]publishResult, len(channels))
	for i := range results {
		results[i].Error = failure(wire.ErrorInternal, "Redis has not answered").Error
	}
	for range channels {
		select {
		case o := <-outcomes:
			if o.err == nil {
				results[o.index] = publishResult{Result: &empty{}}
			} else {
				results[o.index].Error = failure(wire.ErrorInternal, o.err.Error()).Error
			}
		case <-r.Context().Done():
			return results
		}
	}
	return results
}

func (a *API) info(*http.Request, []byte) apiReply {
	node := a.Node
	node.NumClients = a.Stats.TotalConnections()
	node.NumSubs = a.Stats.Subscriptions.Load()
	node.NumChannels = a.Channels()
	node.Uptime = int64(time.Since(a.started) / time.Second)
	return apiReply{Result: infoResult{[]NodeInfo{node}}}
}

// disconnect closes one connection of this node. One that is not here is
// answered like one that was: after the call it is gone either way.
func (a *API) disconnect(_ *http.Request, body []byte) apiReply {
	var request struct {
		Client     string `json:"client"`
		User       string `json:"user"`
		Disconnect *struct {
			Code   uint32 `json:"code"`
			Reason string `json:"reason"`
		} `json:"disconnect"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return failure(wire.ErrorBadRequest, err.Error())
	}
	switch {
	case request.Client == "" && request.User != "":
		return failure(wire.ErrorNotAvailable, "connections have no user: send the client id")
	case request.Client == "":
		return failure(wire.ErrorBadRequest, "client is missing")
	}
	d := wire.DisconnectForce
	if custom := request.Disconnect; custom != nil {
		if custom.Code < 3000 || custom.Code > 4999 {
			return failure(wire.ErrorBadRequest, "disconnect.code is not from 3000 to 4999")
		}
		// The reason is a label of the metrics, which must not grow with what
		// callers write, so only the code is theirs.
		d = wire.Disconnect{Code: uint16(custom.Code), Reason: wire.DisconnectForce.Reason}
	}
	a.Engine.Disconnect(request.Client, d)
	return apiReply{Result: empty{}}
}

// failure is an error reply with the code of e and a message that says more.
func failure(e *protocol.Error, detail string) apiReply {
	return apiReply{Error: &protocol.Error{Code: e.Code, Message: e.Message + ": " + detail}}
}

func writeReply(w http.ResponseWriter, status int, reply apiReply) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A caller that has gone cannot be told.
	_ = json.NewEncoder(w).Encode(reply)
}
