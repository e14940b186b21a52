package server

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge-go"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/server/certificate"
	"github.com/tandem-ws/tandem/server/config"
	"github.com/tandem-ws/tandem/server/version"
)

// errEnded is returned if the server ends the connection for good.
var errEnded = errors.New("tandem: watch: the server ended the connection")

// watch prints what a client receives: a line for each message, with its channel. It
// continues over reconnects until a signal ends it.
func watch(i *invocation) int {
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	endpoint := flags.String("url", "", "`URL` of the WebSocket endpoint; default: that of the server that runs with this environment")
	token := flags.String("token", "", "`JWT` to connect with; default: one signed with TOKEN_SECRET, if that is set")
	most := flags.Uint64("n", 0, "end after this many messages; 0: never")
	if code, done := i.parse(flags, 1, math.MaxInt); done {
		return code
	}
	c, err := i.config()
	if err != nil {
		return outcome(i.stderr, err)
	}
	for _, channel := range flags.Args() {
		if line := invalidChannel(&c, channel); line != "" && *endpoint == "" {
			return refuse(i.stderr, "tandem: watch: "+line)
		}
	}
	var trusted *tls.Config
	if *endpoint == "" {
		*endpoint = endpointOf(&c)
		if trusted, err = ownTLS(&c); err != nil {
			return outcome(i.stderr, err)
		}
	}
	if u, err := url.Parse(*endpoint); err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return refuse(i.stderr, fmt.Sprintf("tandem: watch: -url=%s: write ws:// or wss://, as in ws://localhost:8080%s",
			*endpoint, modes.PathCentrifuge))
	}
	ctx, cancel := interrupted()
	defer cancel()
	w := &watcher{
		stdout: i.stdout, stderr: i.stderr, config: &c, token: *token, most: *most, tls: trusted,
		connected: make(chan struct{}), ended: make(chan error, 1),
	}
	err = w.run(ctx, *endpoint, flags.Args())
	cancel() // another signal ends the program even if its output is stuck
	return outcome(i.stderr, err)
}

// endpointOf returns the URL at which clients on this machine reach the server.
func endpointOf(c *config.Config) string {
	// The configuration has been checked.
	address, _ := reachable(c.Addr)
	scheme := "ws://"
	if c.TLSCertFile != "" {
		scheme = "wss://"
	}
	return scheme + address + modes.PathCentrifuge
}

// watcher prints the events of a client of the published SDK for Go. The SDK calls
// it from one goroutine.
type watcher struct {
	stdout, stderr io.Writer
	config         *config.Config
	token          string      // to connect with; empty: one is made if there is a secret
	most, seen     uint64      // messages; most 0: no limit
	tls            *tls.Config // nil: as any client
	once           sync.Once   // closes connected
	connected      chan struct{}
	ended          chan error
}

// ownTLS returns the TLS configuration with which a client trusts the server that runs
// with this environment. It compares the certificate instead of a name, because the
// address need not contain a name. It is nil if TLS is off.
func ownTLS(c *config.Config) (*tls.Config, error) {
	if c.TLSCertFile == "" {
		return nil, nil
	}
	pair, err := certificate.Load(c.TLSCertFile, c.TLSKeyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection verifies it
		VerifyConnection: func(state tls.ConnectionState) error {
			if !state.PeerCertificates[0].Equal(pair.Leaf()) {
				return fmt.Errorf("tandem: watch: the server has another certificate than %s", c.TLSCertFile)
			}
			return nil
		},
	}, nil
}

const (
	// connectTime is how long the first connection may take. Later ones are tried for
	// ever: the server has been there.
	connectTime = 10 * time.Second
	// closeTime is how long the SDK may take to close: a callback may be stuck in a
	// write to a terminal or a pipe.
	closeTime = time.Second
)

// run returns nil when ctx is done or enough messages have come, and an error if the
// first connection fails or the server ends it.
func (w *watcher) run(ctx context.Context, endpoint string, channels []string) error {
	options := centrifuge.Config{
		Token: w.token, Name: "tandem watch", Version: version.Version, TLSConfig: w.tls,
		HandshakeTimeout: connectTime, ReadTimeout: connectTime,
	}
	if w.token == "" && w.config.TokenSecret != "" {
		options.GetToken = func(centrifuge.ConnectionTokenEvent) (string, error) { return w.sign("") }
	}
	client := centrifuge.NewJsonClient(endpoint, options)
	defer closeSoon(client)
	client.OnConnected(func(e centrifuge.ConnectedEvent) {
		w.once.Do(func() { close(w.connected) })
		w.tell("connected to %s (%s)", endpoint, e.Version)
	})
	client.OnConnecting(func(e centrifuge.ConnectingEvent) {
		// Code 0 is the first time.
		if e.Code != 0 && w.hasConnected() {
			w.tell("connection lost: %d %s: reconnecting", e.Code, e.Reason)
		}
	})
	client.OnError(func(e centrifuge.ErrorEvent) {
		if !w.hasConnected() {
			w.end(fmt.Errorf("tandem: watch: %s: %w", endpoint, e.Error))
			return
		}
		w.tell("%v", e.Error)
	})
	client.OnDisconnected(func(e centrifuge.DisconnectedEvent) {
		w.end(fmt.Errorf("%w: %d %s", errEnded, e.Code, e.Reason))
	})
	for _, channel := range slices.Compact(slices.Sorted(slices.Values(channels))) {
		if err := w.subscribe(client, channel); err != nil {
			return fmt.Errorf("tandem: watch: %s: %w", channel, err)
		}
	}
	if err := client.Connect(); err != nil {
		return fmt.Errorf("tandem: watch: %w", err)
	}
	first := time.NewTimer(connectTime)
	defer first.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.ended:
			return err
		case <-first.C:
			if !w.hasConnected() {
				return fmt.Errorf("tandem: watch: %s: not connected within %v", endpoint, connectTime)
			}
		}
	}
}

// hasConnected reports whether there has been a connection.
func (w *watcher) hasConnected() bool {
	select {
	case <-w.connected:
		return true
	default:
		return false
	}
}

// closeSoon closes the client and waits for that, but not for long.
func closeSoon(client *centrifuge.Client) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		client.Close()
	}()
	late := time.NewTimer(closeTime)
	defer late.Stop()
	select {
	case <-closed:
	case <-late.C:
	}
}

func (w *watcher) subscribe(client *centrifuge.Client, channel string) error {
	var options centrifuge.SubscriptionConfig
	if w.config.TokenSecret != "" && strings.HasPrefix(channel, w.config.PrivatePrefix) {
		options.GetToken = func(e centrifuge.SubscriptionTokenEvent) (string, error) { return w.sign(e.Channel) }
	}
	s, err := client.NewSubscription(channel, options)
	if err != nil {
		return err
	}
	s.OnSubscribed(func(centrifuge.SubscribedEvent) { w.tell("subscribed to %s", channel) })
	s.OnError(func(e centrifuge.SubscriptionErrorEvent) { w.tell("%s: %v", channel, e.Error) })
	s.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) {
		w.end(fmt.Errorf("tandem: watch: %s: %d %s", channel, e.Code, e.Reason))
	})
	s.OnPublication(func(e centrifuge.PublicationEvent) { w.print(channel, e.Data) })
	return s.Subscribe()
}

// watchUser is whose tokens watch makes, and watchLife how long they are good; the
// SDK asks for new ones in time.
const (
	watchUser = "tandem-watch"
	watchLife = time.Hour
)

// sign makes a token to subscribe to channel, or to connect if channel is empty.
func (w *watcher) sign(channel string) (string, error) {
	return sign(w.config, session.Claims{User: watchUser, Channel: channel}, watchLife)
}

// print writes one message to standard output.
func (w *watcher) print(channel string, data []byte) {
	if w.most > 0 && w.seen == w.most {
		return
	}
	if _, err := fmt.Fprintf(w.stdout, "%s %s\n", channel, data); err != nil {
		w.end(err)
	}
	if w.seen++; w.seen == w.most {
		w.end(nil)
	}
}

// tell reports progress on standard error.
func (w *watcher) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(w.stderr, format+"\n", args...)
}

// end makes run return the first error that it is called with.
func (w *watcher) end(err error) {
	select {
	case w.ended <- err:
	default:
	}
}
