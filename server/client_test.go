package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// client is a client of the JSON protocol. One goroutine uses it.
type client struct {
	t       *testing.T
	conn    *websocket.Conn
	id      string // what the server calls it
	lastID  int
	waiting []message // read and not yet taken
}

// message is a reply or a push, as far as these tests look at them.
type message struct {
	ID      int `json:"id"`
	Connect *struct {
		Client string `json:"client"`
	} `json:"connect"`
	Error *struct {
		Code int `json:"code"`
	} `json:"error"`
	Push *struct {
		Channel string `json:"channel"`
		Pub     *struct {
			Data json.RawMessage `json:"data"`
		} `json:"pub"`
		Unsubscribe *struct {
			Code int `json:"code"`
		} `json:"unsubscribe"`
	} `json:"push"`
}

// dial opens a WebSocket that is closed with the test.
func dial(t *testing.T, url string, header http.Header) *websocket.Conn {
	t.Helper()
	conn, response, err := websocket.DefaultDialer.Dial(url, header)
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: %s", err, response.Status)
		}
		t.Fatalf("dial %s: %v", url, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// connect opens a connection and sends the connect command.
func connect(t *testing.T, public string) *client {
	t.Helper()
	c := &client{t: t, conn: dial(t, "ws://"+public+"/connection/websocket", nil)}
	reply := c.call("connect", "{}")
	if reply.Connect == nil || reply.Connect.Client == "" {
		t.Fatalf("the connect reply has no client: %+v", reply)
	}
	c.id = reply.Connect.Client
	return c
}

// call sends a command and waits for its reply.
func (c *client) call(command, body string) message {
	c.t.Helper()
	c.lastID++
	line := fmt.Sprintf(`{"id":%d,%q:%s}`, c.lastID, command, body)
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(line)); err != nil {
		c.t.Fatal(err)
	}
	return c.take(func(m message) bool { return m.ID == c.lastID })
}

// subscribe fails the test unless the server confirms.
func (c *client) subscribe(channel string) {
	c.t.Helper()
	if reply := c.call("subscribe", fmt.Sprintf(`{"channel":%q}`, channel)); reply.Error != nil {
		c.t.Fatalf("subscribe %s: error %d", channel, reply.Error.Code)
	}
}

// publication waits for the next publication and returns channel and data.
func (c *client) publication() (channel, data string) {
	c.t.Helper()
	m := c.take(func(m message) bool { return m.Push != nil && m.Push.Pub != nil })
	return m.Push.Channel, string(m.Push.Pub.Data)
}

// take returns the first message that is wanted and leaves the others for later.
func (c *client) take(wanted func(message) bool) message {
	c.t.Helper()
	for i, m := range c.waiting {
		if wanted(m) {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			return m
		}
	}
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		_, frame, err := c.conn.ReadMessage()
		if err != nil {
			c.t.Fatalf("read: %v", err)
		}
		var found *message
		for line := range strings.Lines(string(frame)) {
			var m message
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				c.t.Fatalf("%q: %v", line, err)
			}
			if found == nil && wanted(m) {
				found = &m
			} else {
				c.waiting = append(c.waiting, m)
			}
		}
		if found != nil {
			return *found
		}
	}
}

// closed reads until the server closes, and returns the code and reason. It
// does not answer the close frame where silent is set.
func closed(t *testing.T, conn *websocket.Conn, silent bool) (code int, reason string) {
	t.Helper()
	if silent {
		conn.SetCloseHandler(func(int, string) error { return nil })
	}
	for {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, _, err := conn.ReadMessage()
		var end *websocket.CloseError
		switch {
		case errors.As(err, &end):
			return end.Code, end.Text
		case err != nil:
			t.Fatalf("ended without a close frame: %v", err)
		}
	}
}
