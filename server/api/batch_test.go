package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestBatch: each command is executed in its order, and has its reply in its place.
func TestBatch(t *testing.T) {
	many := `{"publish":{"channel":"c","data":1}}` + strings.Repeat(`,{"publish":{"channel":"c","data":1}}`, maxCommands)
	for _, test := range []struct {
		body   string
		status int
		want   string // how the answer begins
		did    string
	}{
		{`{"commands":[{"publish":{"channel":"a","data":1}},{"publish":{"channel":"b","data":2}}]}`, 200,
			`{"replies":[{"publish":{}},{"publish":{}}]}`, `a 1,b 2`},
		{`{"parallel":true,"commands":[{"publish":{"channel":"refused","data":1}},{"broadcast":{"channels":["a","b"],"data":2}},{"presence":{"channel":"a"}}]}`, 200,
			`{"replies":[{"error":{"code":100,"message":"internal server error: refused"}},` +
				`{"broadcast":{"responses":[{"result":{}},{"result":{}}]}},{"error":{"code":108,`, `refused 1,a 2,b 2`},
		{`{"commands":[{"id":1,"publish":{"channel":"a","data":1}},{"disconnect":{"client":"known"}},{"info":{}},{"fly":{}},{"publish":{}}]}`, 200,
			`{"replies":[{"publish":{}},{"disconnect":{}},{"info":{"nodes":[`, `a 1,known 3503 force disconnect`},
		{`{"commands":[]}`, 200, `{"replies":[]}`, ``},
		{`{"commands":[{"publish":{"channel":"a","data":1}},{}]}`, 400, `{"error":{"code":107,`, ``},
		{`{"commands":[{"publish":{"channel":"a","data":1},"info":{}}]}`, 400, `{"error":{"code":107,`, ``},
		{`{"commands":[` + many + `]}`, 400, `{"error":{"code":106,`, ``},
		{`{"commands":1}`, 400, `{"error":{"code":107,`, ``},
		{``, 400, `{"error":{"code":107,`, ``},
	} {
		r := &recorder{refuse: "refused"}
		w := request(testAPI(r), "POST", "/api/batch", http.Header{"X-Api-Key": {"secret"}}, strings.NewReader(test.body))
		if w.Code != test.status || !strings.HasPrefix(w.Body.String(), test.want) {
			t.Errorf("%.80s: answer %d %.200s, want %d %s", test.body, w.Code, w.Body, test.status, test.want)
		}
		if did := strings.Join(append(r.published, r.disconnected...), ","); did != test.did {
			t.Errorf("%.80s: did %q, want %q", test.body, did, test.did)
		}
	}
}

// TestCommands: the older form, in which the body names the methods.
func TestCommands(t *testing.T) {
	publish := func(channel string) string {
		return fmt.Sprintf(`{"method":"publish","params":{"channel":%q,"data":1}}`, channel)
	}
	for _, test := range []struct {
		body   string
		status int
		want   string
		did    string
	}{
		{publish("a"), 200, `{"result":{}}` + "\n", `a 1`},
		{publish("a") + "\n" + publish("b") + "\n", 200, `{"result":{}}` + "\n" + `{"result":{}}` + "\n", `a 1,b 1`},
		{`{"id":7,"method":"info","params":{}}{"id":8,"method":"presence","params":{"channel":"a"}}`, 200,
			`{"id":7,"result":{"nodes":[{"uid":"u",`, ``},
		{`{"method":"fly","params":{}}`, 200, `{"error":{"code":104,`, ``},
		{`{"params":{}}`, 200, `{"error":{"code":104,`, ``},
		{`{"method":"publish"}`, 200, `{"error":{"code":107,`, ``},
		{publish("a") + `{"method":`, 400, `{"error":{"code":107,`, ``},
		{publish("a") + strings.Repeat(publish("a"), maxCommands), 400, `{"error":{"code":106,`, ``},
		{`{}[]`, 400, `{"error":{"code":107,`, ``},
		{``, 400, `{"error":{"code":107,`, ``},
	} {
		r := &recorder{}
		w := request(testAPI(r), "POST", "/api", http.Header{"Authorization": {"apikey secret"}}, strings.NewReader(test.body))
		if w.Code != test.status || !strings.HasPrefix(w.Body.String(), test.want) {
			t.Errorf("%.80s: answer %d %.200s, want %d %s", test.body, w.Code, w.Body, test.status, test.want)
		}
		if did := strings.Join(append(r.published, r.disconnected...), ","); did != test.did {
			t.Errorf("%.80s: did %q, want %q", test.body, did, test.did)
		}
	}
}

// TestEveryEndpointNeedsTheKey asks without one.
func TestEveryEndpointNeedsTheKey(t *testing.T) {
	paths := []string{"/api", "/api/batch"}
	for name := range New(Options{}).methods {
		paths = append(paths, "/api/"+name)
	}
	for _, path := range paths {
		r := &recorder{}
		if w := request(testAPI(r), "POST", path, nil, strings.NewReader(`{}`)); w.Code != http.StatusUnauthorized {
			t.Errorf("%s without a key: %d, want 401", path, w.Code)
		}
	}
}
