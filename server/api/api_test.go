package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a bus and an engine that note what they are asked for.
type recorder struct {
	mu           sync.Mutex // guards the rest
	published    []string   // channel and data
	disconnected []string   // client, code and reason
	refuse       string     // the channel that Redis refuses
}

var errRefused = errors.New("refused")

func (r *recorder) PublishForBackEnd(channel string, data []byte, done func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = append(r.published, channel+" "+string(data))
	if channel == r.refuse {
		done(errRefused)
		return
	}
	done(nil)
}

func (r *recorder) Disconnect(client string, d wire.Disconnect) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disconnected = append(r.disconnected, fmt.Sprintf("%s %d %s", client, d.Code, d.Reason))
	return client == "known"
}

// testAPI serves an API that has the key "secret".
func testAPI(r *recorder) http.Handler {
	mux := http.NewServeMux()
	New(Options{
		Key: "secret", Bus: r, Engine: r, Rules: session.Rules{MaxChannels: 2, MaxChannelLength: 8, RedisPrefix: "__key"}, Stats: modes.NewStats(),
		Channels: func() int { return 7 }, Node: NodeInfo{UID: "u", Name: "n", Version: "v", Mode: "m"},
	}).Register(mux)
	return mux
}

func request(h http.Handler, method, path string, header http.Header, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, body)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAPIKey(t *testing.T) {
	for _, test := range []struct {
		name, header, value string
		want                int
	}{
		{"none", "X-Other", "secret", 401},
		{"right", "X-Api-Key", "secret", 200},
		{"wrong", "X-Api-Key", "secreT", 401},
		{"beginning", "X-Api-Key", "secre", 401},
		{"empty", "X-Api-Key", "", 401},
		{"authorization", "Authorization", "apikey secret", 200},
		{"authorization, case", "Authorization", "ApiKey secret", 200},
		{"authorization, wrong", "Authorization", "apikey x", 401},
		{"authorization, other scheme", "Authorization", "Bearer secret", 401},
		{"authorization, no scheme", "Authorization", "secret", 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{}
			w := request(testAPI(r), "POST", "/api/publish", http.Header{test.header: {test.value}}, strings.NewReader(`{"channel":"c","data":1}`))
			if w.Code != test.want {
				t.Errorf("status %d, want %d", w.Code, test.want)
			}
			if published := len(r.published) == 1; published != (test.want == 200) {
				t.Errorf("published: %t", published)
			}
		})
	}
}

func TestAPIAnswers(t *testing.T) {
	result, code := func(json string) string { return `{"result":` + json + `}` }, func(n int) string { return fmt.Sprintf(`{"error":{"code":%d,`, n) }
	responses := `{"result":{"responses":[`
	for _, test := range []struct {
		path, body string
		want       string // how the answer begins
		did        string // what reached bus and engine
	}{
		{"publish", `{"channel":"c","data":{"a": 1}}`, result("{}"), `c {"a": 1}`},
		{"publish", `{"channel":"c","data":null}`, result("{}"), `c null`},
		{"publish", `{"channel":"c","data":"x","skip_history":true,"tags":{"a":"b"}}`, result("{}"), `c "x"`},
		{"publish", `{"channel":"c","b64data":"aGk="}`, result("{}"), `c hi`},
		{"publish", `{"channel":"refused","data":1}`, code(100), `refused 1`},
		{"publish", `{"channel":"","data":1}`, code(107), ``},
		{"publish", `{"data":1}`, code(107), ``},
		{"publish", `{"channel":"c"}`, code(107), ``},
		{"publish", `{"channel":"c\n","data":1}`, code(107), ``},
		{"publish", `{"channel":"too long a name","data":1}`, code(107), ``},
		{"publish", `{"channel":1,"data":1}`, code(107), ``},
		{"publish", `{"channel":"event@0","data":1}`, code(102), ``},
		{"broadcast", `{"channels":["a","event@0"],"data":1}`, code(102), ``},
		{"publish", `{"channel":"c","b64data":"?"}`, code(107), ``},
		{"publish", `{"channel":"c","data":`, code(107), ``},
		{"publish", `[]`, code(107), ``},
		{"publish", ``, code(107), ``},
		{"broadcast", `{"channels":["a","b"],"data":1}`, responses + `{"result":{}},{"result":{}}]`, `a 1,b 1`},
		{"broadcast", `{"channels":["a","refused"],"data":1}`, responses + `{"result":{}},{"error":{"code":100,`, `a 1,refused 1`},
		{"broadcast", `{"channels":[],"data":1}`, code(107), ``},
		{"broadcast", `{"data":1}`, code(107), ``},
		{"broadcast", `{"channels":["a",""],"data":1}`, code(107), ``},
		{"broadcast", `{"channels":["a"]}`, code(107), ``},
		{"broadcast", `{"channels":"a","data":1}`, code(107), ``},
		{"broadcast", `{"data":1,"channels":["a"` + strings.Repeat(`,"a"`, maxPublications) + `]}`, code(106), ``},
		{"info", ``, `{"result":{"nodes":[{"uid":"u","name":"n","version":"v","mode":"m","num_clients":0,"num_users":0,"num_subs":0,"num_channels":7,"uptime":0}]}}`, ``},
		{"disconnect", `{"client":"known"}`, result("{}"), `known 3503 force disconnect`},
		{"disconnect", `{"client":"unknown"}`, result("{}"), `unknown 3503 force disconnect`},
		{"disconnect", `{"client":"known","user":"u"}`, result("{}"), `known 3503 force disconnect`},
		{"disconnect", `{"client":"known","disconnect":{"code":4000,"reason":"x"}}`, result("{}"), `known 4000 force disconnect`},
		{"disconnect", `{"client":"known","disconnect":{"code":1000}}`, code(107), ``},
		{"disconnect", `{"client":"known","disconnect":{"code":70000}}`, code(107), ``},
		{"disconnect", `{"user":"u"}`, code(108), ``},
		{"disconnect", `{}`, code(107), ``},
		{"disconnect", `x`, code(107), ``},
		{"presence", `{"channel":"c"}`, code(108), ``},
		{"presence_stats", `{"channel":"c"}`, code(108), ``},
		{"history", `{"channel":"c"}`, code(108), ``},
		{"history_remove", ``, code(108), ``},
		{"channels", `{}`, code(108), ``},
		{"subscribe", `{"channel":"c","user":"u"}`, code(108), ``},
		{"unsubscribe", `{"channel":"c","user":"u"}`, code(108), ``},
		{"refresh", `{"user":"u"}`, code(108), ``},
		{"rpc", `{"method":"m"}`, code(108), ``},
	} {
		t.Run(test.path+" "+test.body[:min(len(test.body), 60)], func(t *testing.T) {
			r := &recorder{refuse: "refused"}
			w := request(testAPI(r), "POST", "/api/"+test.path, http.Header{"X-Api-Key": {"secret"}}, strings.NewReader(test.body))
			if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), test.want) || !json.Valid(w.Body.Bytes()) {
				t.Errorf("answer %d %s, want %s", w.Code, w.Body, test.want)
			}
			if did := strings.Join(append(r.published, r.disconnected...), ","); did != test.did {
				t.Errorf("did %q, want %q", did, test.did)
			}
		})
	}
}

func TestAPIRefuses(t *testing.T) {
	key := http.Header{"X-Api-Key": {"secret"}}
	for _, test := range []struct {
		method, path string
		body         io.Reader
		want         int
	}{
		{"GET", "/api/info", nil, 405},
		{"PUT", "/api/publish", nil, 405},
		{"POST", "/api/nothing", nil, 404},
		{"GET", "/api", nil, 405},
		{"POST", "/api/", nil, 400},
		{"POST", "/api/publish", io.LimitReader(endless{}, maxBody+1), 413},
	} {
		if w := request(testAPI(&recorder{}), test.method, test.path, key, test.body); w.Code != test.want {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, w.Code, test.want)
		}
	}
}

// endless is a body without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
