package server

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/centrifugal/gocent/v3"
)

// TestCentrifugoLibrary publishes with Centrifugo's library for Go.
func TestCentrifugoLibrary(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "API_KEY=secret")
		p.awaitReady(http.StatusOK, "ok")
		c := connect(t, p.public)
		c.subscribe("a")
		c.subscribe("b")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		http := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		api := gocent.New(gocent.Config{Addr: "http://" + p.internal + "/api", Key: "secret", HTTPClient: http})

		if _, err := api.Publish(ctx, "a", []byte(`{"n":1}`)); err != nil {
			t.Fatal(err)
		}
		if channel, data := c.publication(); channel != "a" || data != `{"n":1}` {
			t.Errorf("received %s on %s", data, channel)
		}
		if result, err := api.Broadcast(ctx, []string{"a", "b"}, []byte("2")); err != nil || len(result.Responses) != 2 || result.Responses[1].Error != nil {
			t.Errorf("broadcast: %+v, %v", result, err)
		}
		for range 2 {
			if _, data := c.publication(); data != "2" {
				t.Errorf("the broadcast brought %s", data)
			}
		}
		pipe := api.Pipe()
		_ = pipe.AddPublish("b", []byte("3"))
		_ = pipe.AddPublish("", []byte("4"))
		_ = pipe.AddPublish("b", []byte("5"))
		replies, err := api.SendPipe(ctx, pipe)
		if err != nil || len(replies) != 3 || replies[0].Error != nil || replies[1].Error == nil || replies[1].Error.Code != 107 || replies[2].Error != nil {
			t.Errorf("pipe: %+v, %v", replies, err)
		}
		for _, want := range []string{"3", "5"} {
			if channel, data := c.publication(); channel != "b" || data != want {
				t.Errorf("received %s on %s, want %s", data, channel, want)
			}
		}
		if info, err := api.Info(ctx); err != nil || len(info.Nodes) != 1 || info.Nodes[0].NumClients != 1 {
			t.Errorf("info: %+v, %v", info, err)
		}
		if _, err := api.History(ctx, "a"); !isError(err, 108) {
			t.Errorf("history: %v, want error 108", err)
		}
		if _, err := api.Presence(ctx, "a"); !isError(err, 108) {
			t.Errorf("presence: %v, want error 108", err)
		}
		if err := api.Disconnect(ctx, "", gocent.WithDisconnectClient(c.id)); err != nil {
			t.Errorf("disconnect: %v", err)
		}
		if code, _ := closed(t, c.conn, false); code != 3503 {
			t.Errorf("disconnected with %d, want 3503", code)
		}
		stranger := gocent.New(gocent.Config{Addr: "http://" + p.internal + "/api", Key: "guess", HTTPClient: http})
		var status gocent.ErrStatusCode
		if _, err := stranger.Info(ctx); !errors.As(err, &status) || status.Code != 401 {
			t.Errorf("with a wrong key: %v, want status 401", err)
		}
	})
}

// isError reports whether the API answered with this code.
func isError(err error, code int) bool {
	var e *gocent.Error
	return errors.As(err, &e) && e.Code == code
}
