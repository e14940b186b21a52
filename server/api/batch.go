package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// maxCommands is how many commands one request may hold.
const maxCommands = 10_000

// command is one of several in a request.
type command struct {
	method string
	params []byte
}

// run executes commands one after the other. The publications of commands that
// follow each other are on their way at the same time, in their order.
func (a *API) run(ctx context.Context, commands []command) []reply {
	replies := make([]reply, len(commands))
	waits := make([]func() reply, 0, len(commands))
	first := 0 // of those in waits
	collect := func() {
		for i, wait := range waits {
			replies[first+i] = wait()
		}
		first += len(waits)
		waits = waits[:0]
	}
	for _, c := range commands {
		if c.method != "publish" {
			collect()
		}
		waits = append(waits, a.call(ctx, c.method, c.params))
		if c.method != "publish" {
			collect()
		}
	}
	collect()
	return replies
}

// commandReply is a line of the answer to POST /api.
type commandReply struct {
	ID uint32 `json:"id,omitempty"`
	reply
}

// commands serves POST /api, which Centrifugo's older libraries use: JSON objects
// that name a method and its parameters, answered by as many objects, each on its line.
func (a *API) commands(r *http.Request, body []byte) (status int, answer any) {
	var list []command
	var replies []commandReply
	for decoder := json.NewDecoder(bytes.NewReader(body)); ; {
		var c struct {
			ID     uint32          `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
		}
		err := decoder.Decode(&c)
		switch {
		case errors.Is(err, io.EOF) && len(list) > 0:
			for i, result := range a.run(r.Context(), list) {
				replies[i].reply = result
			}
			return http.StatusOK, replies
		case errors.Is(err, io.EOF):
			return http.StatusBadRequest, failure(wire.ErrorBadRequest, "no command")
		case err != nil:
			return http.StatusBadRequest, failure(wire.ErrorBadRequest, err.Error())
		case len(list) == maxCommands:
			return http.StatusBadRequest, failure(wire.ErrorLimitExceeded, fmt.Sprintf("more than %d commands", maxCommands))
		}
		list = append(list, command{c.Method, c.Params})
		replies = append(replies, commandReply{ID: c.ID})
	}
}

// batch serves POST /api/batch. Each command is an object with one field, whose name
// is the method and whose value has the parameters; each reply bears the same name.
func (a *API) batch(r *http.Request, body []byte) (status int, answer any) {
	var request struct {
		Commands []map[string]json.RawMessage `json:"commands"`
		// Parallel does not matter: publications leave together in any case.
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return http.StatusBadRequest, failure(wire.ErrorBadRequest, err.Error())
	}
	if len(request.Commands) > maxCommands {
		return http.StatusBadRequest, failure(wire.ErrorLimitExceeded, fmt.Sprintf("more than %d commands", maxCommands))
	}
	list := make([]command, len(request.Commands))
	for i, fields := range request.Commands {
		delete(fields, "id")
		if len(fields) != 1 {
			return http.StatusBadRequest, failure(wire.ErrorBadRequest,
				fmt.Sprintf("command %d has %d methods instead of one", i, len(fields)))
		}
		for method, params := range fields {
			list[i] = command{method, params}
		}
	}
	type batchReply map[string]any
	replies := make([]batchReply, len(list))
	for i, result := range a.run(r.Context(), list) {
		if result.Error != nil {
			replies[i] = batchReply{"error": result.Error}
		} else {
			replies[i] = batchReply{list[i].method: result.Result}
		}
	}
	return http.StatusOK, struct {
		Replies []batchReply `json:"replies"`
	}{replies}
}
