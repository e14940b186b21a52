package redisbus

import (
	"context"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

func TestSend(t *testing.T) {
	server := redistest.Start(t)
	pubsub := server.Client().Subscribe(t.Context(), "app:news")
	defer func() { _ = pubsub.Close() }()
	if _, err := pubsub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	options := Options{URL: server.URL(), Prefix: "app:"}
	if n, err := Send(t.Context(), options, "news", []byte("hello")); n != 1 || err != nil {
		t.Errorf("received by %d, %v", n, err)
	}
	if m, err := pubsub.ReceiveMessage(t.Context()); err != nil || m.Payload != "hello" {
		t.Errorf("received %v, %v", m, err)
	}
	if n, err := Send(t.Context(), options, "other", []byte("hello")); n != 0 || err != nil {
		t.Errorf("received by %d, %v", n, err)
	}
	if _, err := Send(t.Context(), Options{}, "news", nil); err == nil {
		t.Error("sent without a URL")
	}
}

// TestProbe takes a permission away from the user that it connects as, one after
// the other.
func TestProbe(t *testing.T) {
	server := redistest.Start(t)
	url := "redis://probe:hunter2@" + server.Addr()
	for _, test := range []struct {
		rules, fault string // fault empty: none
	}{
		{"+@all", ""},
		{"+@all -info", ""},
		{"+@all -role", ""},
		{"+@all -ping", "'ping'"},
		{"+@all -subscribe", "subscribe"},
		{"+@all -publish", "publish"},
		{"+@all resetchannels &other:*", "channel"},
	} {
		rules := strings.Fields("ACL SETUSER probe reset on >hunter2 &app:* " + test.rules)
		args := make([]any, len(rules))
		for i := range rules {
			args[i] = rules[i]
		}
		if err := server.Client().Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%s: %v", test.rules, err)
		}
		r, err := Probe(t.Context(), Options{URL: url, Prefix: "app:"})
		switch {
		case r.Addr != server.Addr():
			t.Errorf("%s: the address is %q", test.rules, r.Addr)
		case test.fault == "" && (err != nil || r.RoundTrip <= 0 || r.Delivery <= 0):
			t.Errorf("%s: %+v, %v", test.rules, r, err)
		case test.fault == "" && r.Master == strings.Contains(test.rules, "-role"):
			t.Errorf("%s: master: %v", test.rules, r.Master)
		case test.fault == "" && (strings.HasPrefix(r.Version, "Redis ") == strings.Contains(test.rules, "-info")):
			t.Errorf("%s: the version is %q", test.rules, r.Version)
		case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%s: %v", test.rules, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Probe(ctx, Options{URL: url}); err == nil {
		t.Error("probed after the context had ended")
	}
}
