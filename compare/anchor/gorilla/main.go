// Command gorilla is the plain server that the idiomatic mode must not be worse
// than: the shape of gorilla/websocket's chat example, fed by Redis. A hub
// goroutine, two goroutines and a channel of 256 messages for every connection, the
// default buffers of 4 KB, no protocol but the floor's, no limits, no metrics.
//
//	gorilla PORT REDIS_PORT
package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"
)

const (
	writeWait  = 10 * time.Second
	pongWait   = 60 * time.Second
	pingPeriod = pongWait * 9 / 10
)

var acknowledgement = []byte(`{"op":"subscribed","channel":"bench"}  `)

type client struct {
	hub     *hub
	conn    *websocket.Conn
	channel string
	send    chan []byte
}

// hub belongs to one goroutine, run.
type hub struct {
	pubsub     *redis.PubSub
	clients    map[string]map[*client]bool
	register   chan *client
	unregister chan *client
}

func (h *hub) run(ctx context.Context) error {
	messages := h.pubsub.Channel(redis.WithChannelSize(4096))
	for {
		select {
		case c := <-h.register:
			if h.clients[c.channel] == nil {
				h.clients[c.channel] = make(map[*client]bool)
				if err := h.pubsub.Subscribe(ctx, c.channel); err != nil {
					return err
				}
			}
			h.clients[c.channel][c] = true
			c.send <- acknowledgement
		case c := <-h.unregister:
			h.leave(c)
		case m, ok := <-messages:
			if !ok {
				return redis.ErrClosed
			}
			payload := []byte(m.Payload)
			for c := range h.clients[m.Channel] {
				select {
				case c.send <- payload:
				default:
					h.leave(c)
				}
			}
		}
	}
}

func (h *hub) leave(c *client) {
	if h.clients[c.channel][c] {
		delete(h.clients[c.channel], c)
		close(c.send)
	}
}

func (c *client) readPump() {
	defer func() {
		c.hub.unregister <- c
		_ = c.conn.Close()
	}()
	c.conn.SetReadLimit(512)
	_ = c.conn.SetReadDeadline(time.Now().Add(pongWait))
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(pongWait)) })
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		var command struct{ Op, Channel string }
		if json.Unmarshal(message, &command) == nil && command.Op == "subscribe" && c.channel == "" {
			c.channel = command.Channel
			c.hub.register <- c
		}
	}
}

func (c *client) writePump() {
	ticker := time.NewTicker(pingPeriod)
	defer func() {
		ticker.Stop()
		_ = c.conn.Close()
	}()
	for {
		select {
		case message, ok := <-c.send:
			_ = c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if !ok {
				_ = c.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			if err := c.conn.WriteMessage(websocket.TextMessage, message); err != nil {
				return
			}
		case <-ticker.C:
			_ = c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if err := c.conn.WriteMessage(websocket.PingMessage, nil); err != nil {
				return
			}
		}
	}
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: gorilla PORT REDIS_PORT")
	}
	ctx := context.Background()
	store := redis.NewClient(&redis.Options{Addr: net.JoinHostPort("127.0.0.1", os.Args[2])})
	h := &hub{
		pubsub: store.Subscribe(ctx), clients: make(map[string]map[*client]bool),
		register: make(chan *client), unregister: make(chan *client),
	}
	upgrader := websocket.Upgrader{ReadBufferSize: 4096, WriteBufferSize: 4096}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		c := &client{hub: h, conn: conn, send: make(chan []byte, 256)}
		go c.writePump()
		go c.readPump()
	})
	go func() { log.Fatal(h.run(ctx)) }()
	log.Fatal(http.ListenAndServe(net.JoinHostPort("127.0.0.1", os.Args[1]), nil))
}
