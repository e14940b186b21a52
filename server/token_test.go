package server

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/token"
)

const testSecret = "a secret of thirty-two bytes, ok"

// TestToken reads what the verb prints as the server would.
func TestToken(t *testing.T) {
	verifier, err := token.New(token.Options{Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want session.Claims // Expires 1: in about an hour
	}{
		{nil, session.Claims{Expires: 1}},
		{[]string{"-user", "42", "-for", "0"}, session.Claims{User: "42"}},
		{[]string{"-user", "42", "-channel", "$a", "-client", "c", "-for", "1h"}, session.Claims{User: "42", Channel: "$a", Client: "c", Expires: 1}},
		{[]string{"-channels", "a,$b", "-for", "0"}, session.Claims{Channels: []string{"a", "$b"}}},
	} {
		var stdout, stderr strings.Builder
		if code := program(append([]string{"token"}, test.args...), []string{"TOKEN_SECRET=" + testSecret}, &stdout, &stderr); code != exitOK {
			t.Fatalf("%q: exit code %d, %s", test.args, code, stderr.String())
		}
		got, err := verifier.Verify(strings.TrimSpace(stdout.String()))
		if err != nil {
			t.Fatalf("%q: %v", test.args, err)
		}
		if left := time.Until(time.Unix(got.Expires, 0)); left > 0 && left <= time.Hour {
			got.Expires = 1
		}
		if got.User != test.want.User || got.Channel != test.want.Channel || got.Client != test.want.Client ||
			strings.Join(got.Channels, ",") != strings.Join(test.want.Channels, ",") || got.Expires != test.want.Expires {
			t.Errorf("%q: %+v, want %+v", test.args, got, test.want)
		}
	}
	for _, args := range [][]string{{"-for", "-1h"}, {"-channel", "a", "-channels", "b"}} {
		var stdout, stderr strings.Builder
		if code := program(append([]string{"token"}, args...), []string{"TOKEN_SECRET=" + testSecret}, &stdout, &stderr); code != exitUsage || stdout.Len() > 0 {
			t.Errorf("%q: exit code %d, printed %q", args, code, stdout.String())
		}
	}
}

// TestWatchWithTokens: watch signs for itself, private channels included, and
// without the secret needs a token.
func TestWatchWithTokens(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		secret := "TOKEN_SECRET=" + testSecret
		p := startProcess(t, mode, secret, "API_KEY=k")
		p.awaitReady(200, "ok")
		environ := []string{"ADDR=" + p.public}

		w := startTool(t, append(environ, secret), "watch", "-n", "2", "news", "$private")
		w.awaitLines("subscribed to ", 2)
		p.post("/api/publish", "k", `{"channel":"news","data":1}`)
		p.post("/api/publish", "k", `{"channel":"$private","data":2}`)
		if code, out := w.exit(); code != exitOK || out != "news 1\n$private 2" && out != "$private 2\nnews 1" {
			t.Errorf("exit code %d, printed %q", code, out)
		}

		if code, _ := startTool(t, environ, "watch", "news").exit(); code != exitFailed {
			t.Errorf("without a token: exit code %d", code)
		}
		_, signed, _ := oneShot(t, []string{secret}, "token", "-user", "42")
		w = startTool(t, environ, "watch", "-token", strings.TrimSpace(signed), "-n", "1", "news")
		w.awaitLines("subscribed to news", 1)
		p.post("/api/publish", "k", `{"channel":"news","data":3}`)
		if code, out := w.exit(); code != exitOK || out != "news 3" {
			t.Errorf("with a token: exit code %d, printed %q", code, out)
		}
	})
}

func TestCheckTokens(t *testing.T) {
	if _, out, wrong := oneShot(t, []string{"TOKEN_SECRET=" + testSecret}, "check"); !strings.Contains(out, "\ntokens         clients need one") {
		t.Errorf("with a secret it says %q, %q", out, wrong)
	}
	code, _, wrong := oneShot(t, []string{"TOKEN_PUBLIC_KEY_FILE=/nowhere"}, "check")
	if code != exitUsage || !strings.Contains(wrong, `TOKEN_PUBLIC_KEY_FILE="/nowhere"`) {
		t.Errorf("without the key: exit code %d, %q", code, wrong)
	}
}
