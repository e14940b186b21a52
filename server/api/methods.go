package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// method begins what a request asks for. It returns wait, which returns the reply.
// Publications leave in the order in which they are begun.
type method func(ctx context.Context, params []byte) (wait func() reply)

// unavailable are the methods of Centrifugo that Tandem does not have.
var unavailable = []string{
	"subscribe", "unsubscribe", "refresh", "presence", "presence_stats", "history", "history_remove", "channels", "rpc",
}

// reply is the answer to one request: a result or an error.
type reply struct {
	Result any             `json:"result,omitempty"`
	Error  *protocol.Error `json:"error,omitempty"`
}

type (
	empty           struct{}
	broadcastResult struct {
		Responses []reply `json:"responses"`
	}
	infoResult struct {
		Nodes []NodeInfo `json:"nodes"`
	}
)

// call begins the method with this name.
func (a *API) call(ctx context.Context, name string, params []byte) (wait func() reply) {
	begin, ok := a.methods[name]
	if !ok {
		return done(failure(wire.ErrorMethodNotFound, fmt.Sprintf("%.64q", name)))
	}
	return begin(ctx, params)
}

// done returns a wait that has nothing to wait for.
func done(r reply) func() reply { return func() reply { return r } }

func notAvailable(context.Context, []byte) func() reply {
	return done(reply{Error: wire.ErrorNotAvailable})
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

func (a *API) publish(ctx context.Context, params []byte) func() reply {
	var request struct {
		Channel string `json:"channel"`
		payload
	}
	if err := json.Unmarshal(params, &request); err != nil {
		return done(failure(wire.ErrorBadRequest, err.Error()))
	}
	if refusal := a.refuse(request.Channel, request.bytes()); refusal != nil {
		return done(*refusal)
	}
	wait := a.send(ctx, []string{request.Channel}, request.bytes())
	return func() reply { return wait()[0] }
}

func (a *API) broadcast(ctx context.Context, params []byte) func() reply {
	var request struct {
		Channels []string `json:"channels"`
		payload
	}
	if err := json.Unmarshal(params, &request); err != nil {
		return done(failure(wire.ErrorBadRequest, err.Error()))
	}
	switch {
	case len(request.Channels) == 0:
		return done(failure(wire.ErrorBadRequest, "channels is empty"))
	case len(request.Channels) > maxPublications:
		return done(failure(wire.ErrorLimitExceeded, fmt.Sprintf("more than %d channels", maxPublications)))
	}
	for _, channel := range request.Channels {
		if refusal := a.refuse(channel, request.bytes()); refusal != nil {
			return done(*refusal)
		}
	}
	wait := a.send(ctx, request.Channels, request.bytes())
	return func() reply { return reply{Result: broadcastResult{wait()}} }
}

// refuse returns the answer to a publication that cannot be made; nil if it can.
func (a *API) refuse(channel string, data []byte) *reply {
	e, problem := wire.ErrorBadRequest, ""
	switch err := a.Rules.CheckChannel(channel); {
	case channel == "":
		problem = "channel is missing"
	case errors.Is(err, session.ErrChannelReserved):
		e, problem = wire.ErrorUnknownChannel, fmt.Sprintf("Redis reserves %.64q", channel)
	case err != nil:
		problem = fmt.Sprintf("channel %.64q is not a valid name: 1 to %d bytes of UTF-8 without control characters", channel, a.Rules.MaxChannelLength)
	case len(data) == 0:
		problem = "data is missing"
	default:
		return nil
	}
	r := failure(e, problem)
	return &r
}

// send publishes data to all channels. Its wait waits until Redis has accepted each
// publication, or ctx is done.
func (a *API) send(ctx context.Context, channels []string, data []byte) (wait func() []reply) {
	type outcome struct {
		index int
		err   error
	}
	outcomes := make(chan outcome, len(channels))
	for i, channel := range channels {
		a.Bus.PublishForBackEnd(channel, data, func(err error) { outcomes <- outcome{i, err} })
	}
	return func() []reply {
		replies := make([]reply, len(channels))
		for i := range replies {
			replies[i] = failure(wire.ErrorInternal, "Redis has not answered")
		}
		for range channels {
			select {
			case o := <-outcomes:
				if o.err == nil {
					replies[o.index] = reply{Result: empty{}}
				} else {
					replies[o.index] = failure(wire.ErrorInternal, o.err.Error())
				}
			case <-ctx.Done():
				return replies
			}
		}
		return replies
	}
}

func (a *API) info(context.Context, []byte) func() reply {
	node := a.Node
	node.NumClients = a.Stats.TotalConnections()
	node.NumSubs = a.Stats.Subscriptions.Load()
	node.NumChannels = a.Channels()
	node.Uptime = int64(time.Since(a.started) / time.Second)
	return done(reply{Result: infoResult{[]NodeInfo{node}}})
}

// disconnect closes one connection of this node. A connection that this node does
// not have gets the same reply: after the call it is gone either way.
func (a *API) disconnect(_ context.Context, params []byte) func() reply {
	var request struct {
		Client     string `json:"client"`
		User       string `json:"user"`
		Disconnect *struct {
			Code   uint32 `json:"code"`
			Reason string `json:"reason"`
		} `json:"disconnect"`
	}
	if err := json.Unmarshal(params, &request); err != nil {
		return done(failure(wire.ErrorBadRequest, err.Error()))
	}
	switch {
	case request.Client == "" && request.User != "":
		return done(failure(wire.ErrorNotAvailable, "connections have no user: send the client id"))
	case request.Client == "":
		return done(failure(wire.ErrorBadRequest, "client is missing"))
	}
	d := wire.DisconnectForce
	if custom := request.Disconnect; custom != nil {
		if custom.Code < 3000 || custom.Code > 4999 {
			return done(failure(wire.ErrorBadRequest, "disconnect.code is not from 3000 to 4999"))
		}
		// The reason is a label of the metrics, which must not grow with what
		// callers write, so only the code is theirs.
		d = wire.Disconnect{Code: uint16(custom.Code), Reason: wire.DisconnectForce.Reason}
	}
	a.Engine.Disconnect(request.Client, d)
	return done(reply{Result: empty{}})
}
