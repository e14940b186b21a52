package enginetest

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

func testStreamHeaders(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for path, p := range kit.Streams {
		c := n.Dial(t)
		c.Write(kit.Get(path + "?channel=news").Bytes())
		r := c.ExpectStream(p)
		for name, want := range map[string]string{
			"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
			"Vary": "Origin", "Access-Control-Allow-Origin": "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if len(r.TransferEncoding) > 0 || !r.Close {
			t.Errorf("%s: transfer encoding %q, close %t, want a body that ends with the connection", path, r.TransferEncoding, r.Close)
		}
		kit.AwaitCount(t, n.Stats.Accepted, p.String(), 1)
		if got := n.Connections(p); got != 1 {
			t.Errorf("%d connections of protocol %s, want 1", got, p)
		}
	}
}

// Which requests open a stream, and what the others are answered.
func testStreamForms(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.MaxChannels = 3 })
	for path, p := range kit.Streams {
		good := kit.Get(path + "?channel=news")
		for name, r := range map[string]kit.Request{
			"plain":            good,
			"HTTP/1.0":         withVersion(good, "HTTP/1.0"),
			"HTTP/1.0 no host": withVersion(good, "HTTP/1.0").With("Host"),
			"absolute":         kit.Get("http://tandem.test" + path + "?channel=news"),
			"escaped":          kit.Get(strings.Replace(path, "/s", "/%73", 1) + "?channel=news"),
			"odd case":         good.With("Host", "hOsT: tandem.test"),
			"6 KB of headers":  kit.Get(path+"?channel=news", "Cookie: a="+strings.Repeat("x", 6<<10)),
			"empty body":       kit.Get(path+"?channel=news", "Content-Length: 0"),
		} {
			for _, chopped := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/chopped %t", path, name, chopped), func(t *testing.T) {
					c := n.Dial(t)
					c.Chopped = chopped && len(r.Bytes()) < 1000
					c.Write(r.Bytes())
					c.ExpectStream(p)
					n.Bus.Send("news", "1")
					c.ExpectEvent("1")
				})
			}
		}
		for name, test := range map[string]struct {
			request kit.Request
			status  int
		}{
			"no channel":        {kit.Get(path), 400},
			"empty channel":     {kit.Get(path + "?channel=a&channel="), 400},
			"broken query":      {kit.Get(path + "?channel=%zz"), 400},
			"no UTF-8":          {kit.Get(path + "?channel=%ff"), 400},
			"long name":         {kit.Get(path + "?channel=" + strings.Repeat("x", 256)), 400},
			"many channels":     {kit.Get(path + "?channel=a&channel=b&channel=c&channel=d"), 400},
			"no host":           {good.With("Host"), 400},
			"two hosts":         {kit.Get(path+"?channel=news", "Host: other.test"), 400},
			"broken header":     {kit.Get(path+"?channel=news", "no colon"), 400},
			"body":              {kit.Get(path+"?channel=news", "Content-Length: 5"), 400},
			"chunked body":      {kit.Get(path+"?channel=news", "Transfer-Encoding: chunked"), 400},
			"other origin":      {kit.Get(path+"?channel=news", "Origin: http://other.test"), 403},
			"path prefix":       {kit.Get(path + "/more?channel=news"), 404},
			"HEAD":              {withMethod(good, "HEAD"), 405},
			"POST":              {withMethod(good, "POST"), 405},
			"POST HTTP/1.0":     {withVersion(withMethod(good, "POST"), "HTTP/1.0"), 405},
			"oversized headers": {kit.Get(path+"?channel=news", "Cookie: a="+strings.Repeat("x", 2*modes.DefaultMaxHeaderSize)), 431},
		} {
			t.Run(path+"/"+name, func(t *testing.T) {
				c := n.Dial(t)
				c.Write(test.request.Bytes())
				if test.request.Method == "HEAD" {
					c.Deadline()
					r, err := http.ReadResponse(c.In, &http.Request{Method: "HEAD"})
					if err != nil || r.StatusCode != test.status {
						t.Fatalf("got %v, %v, want %d", r, err, test.status)
					}
					return
				}
				r := c.ExpectRefusal(test.status)
				if allow := r.Header.Get("Allow"); test.status == 405 && allow != "GET" {
					t.Errorf("Allow is %q, want GET", allow)
				}
			})
		}
	}
	n.Settle(t)
	full := kit.Start(t, build, func(s *kit.Setup) { s.Admission.MaxConnections = 2 })
	full.OpenStream(t, modes.PathSSE+"?channel=news")
	full.Session(t)
	full.AwaitConnections(t, 2)
	for path := range kit.Streams {
		c := full.Dial(t)
		c.Write(kit.Get(path + "?channel=news").Bytes())
		c.ExpectRefusal(http.StatusServiceUnavailable)
	}
	kit.AwaitCount(t, full.Stats.Refused, admission.RefusedFull.Reason, 2)
	address := kit.Start(t, build, func(s *kit.Setup) {
		s.Admission.ConnectionsPerAddress = 1
		s.Admission.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	from := "X-Forwarded-For: 192.0.2.1"
	one := address.OpenStream(t, modes.PathSSE+"?channel=news", from)
	for path := range kit.Streams {
		c := address.Dial(t)
		c.Write(kit.Get(path+"?channel=news", from).Bytes())
		c.ExpectRefusal(http.StatusTooManyRequests)
	}
	address.OpenStream(t, modes.PathSSE+"?channel=news", "X-Forwarded-For: 192.0.2.2").Leave()
	one.Leave()
	address.AwaitConnections(t, 0)
	address.OpenStream(t, modes.PathStream+"?channel=news", from)
}

// A proxy that reuses its connections sends the request after others.
func testStreamLater(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for path, p := range kit.Streams {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			head := n.Dial(t)
			head.Write(withMethod(kit.Get(path+"?channel=news"), "HEAD").Bytes())
			head.Deadline()
			if r, err := http.ReadResponse(head.In, &http.Request{Method: "HEAD"}); err != nil || r.StatusCode != 405 {
				t.Fatalf("HEAD: got %v, %v, want 405", r, err)
			}
			// A refusal ends its connection.
			head.ExpectEnd()
			c := n.Dial(t)
			c.Write(kit.Plain("GET", "").Bytes())
			c.ExpectPlain("GET", "", "")
			c.Write(withVersion(kit.Get(path+"?channel=news"), version).Bytes())
			c.ExpectStream(p)
			n.Bus.Send("news", "1")
			c.ExpectEvent("1")
		}
	}
	// A path may be written in several ways, and must not go round in circles.
	c := n.Dial(t)
	c.Write(kit.Upgrade("/%65cho").Bytes())
	c.ExpectUpgrade("")
	c.Send(kit.Text("understood"))
	c.Expect(kit.Text("understood"))
}

// Scripts of other origins may read what the door lets them have, refusals
// included.
func testStreamOrigins(t *testing.T, build kit.Build) {
	closed := kit.Start(t, build, nil)
	listed := kit.Start(t, build, func(s *kit.Setup) { s.Admission.AllowedOrigins = []string{"https://*.example.com"} })
	anyone := kit.Start(t, build, func(s *kit.Setup) { s.Admission.AllowedOrigins = []string{"*"} })
	for _, test := range []struct {
		name                string
		n                   *kit.Node
		origin              string
		status              int
		shared, credentials string
	}{
		{"same host", closed, "https://tandem.test", 200, "https://tandem.test", "true"},
		{"other host", closed, "https://evil.test", 403, "", ""},
		{"no URL", closed, "null", 403, "", ""},
		{"listed", listed, "https://www.example.com", 200, "https://www.example.com", "true"},
		{"not listed", listed, "https://tandem.test", 403, "", ""},
		{"anyone", anyone, "https://evil.test", 200, "*", ""},
	} {
		check := func(t *testing.T, r *http.Response) {
			t.Helper()
			h := r.Header
			if got := h.Get("Access-Control-Allow-Origin"); got != test.shared || h.Get("Vary") != "Origin" {
				t.Errorf("%s: shared with %q, Vary %q, want %q, Origin", r.Status, got, h.Get("Vary"), test.shared)
			}
			if got := h.Get("Access-Control-Allow-Credentials"); got != test.credentials {
				t.Errorf("%s: credentials %q, want %q", r.Status, got, test.credentials)
			}
		}
		for path, p := range kit.Streams {
			t.Run(test.name+path, func(t *testing.T) {
				c := test.n.Dial(t)
				c.Write(kit.Get(path+"?channel=news", "Origin: "+test.origin).Bytes())
				if test.status == 200 {
					check(t, c.ExpectStream(p))
				} else {
					check(t, c.ExpectRefusal(test.status))
				}
				c = test.n.Dial(t)
				c.Write(kit.Get(path+"?channel=", "Origin: "+test.origin).Bytes())
				r, _ := c.Response()
				check(t, r)
				c = test.n.Dial(t)
				c.Write(withMethod(kit.Get(path, "Origin: "+test.origin, "Access-Control-Request-Method: GET"), "OPTIONS").Bytes())
				r, _ = c.Response()
				if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Methods") != "GET" {
					t.Errorf("preflight: got %s, methods %q", r.Status, r.Header.Get("Access-Control-Allow-Methods"))
				}
				check(t, r)
			})
		}
	}
}
