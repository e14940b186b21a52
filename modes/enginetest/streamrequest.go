package enginetest

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
)

func testStreamHeaders(t *testing.T, build Build) {
	n := start(t, build, nil)
	for path, p := range streams {
		c := n.dial(t)
		c.write(get(path + "?channel=news").bytes())
		r := c.expectStream(p)
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
		awaitCount(t, n.stats.Accepted, p.String(), 1)
		if got := n.connections(p); got != 1 {
			t.Errorf("%d connections of protocol %s, want 1", got, p)
		}
	}
}

// Which requests open a stream, and what the others are answered.
func testStreamForms(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.rules.MaxChannels = 3 })
	for path, p := range streams {
		good := get(path + "?channel=news")
		for name, r := range map[string]request{
			"plain":            good,
			"HTTP/1.0":         withVersion(good, "HTTP/1.0"),
			"HTTP/1.0 no host": withVersion(good, "HTTP/1.0").with("Host"),
			"absolute":         get("http://tandem.test" + path + "?channel=news"),
			"escaped":          get(strings.Replace(path, "/s", "/%73", 1) + "?channel=news"),
			"odd case":         good.with("Host", "hOsT: tandem.test"),
			"6 KB of headers":  get(path+"?channel=news", "Cookie: a="+strings.Repeat("x", 6<<10)),
			"empty body":       get(path+"?channel=news", "Content-Length: 0"),
		} {
			for _, chopped := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/chopped %t", path, name, chopped), func(t *testing.T) {
					c := n.dial(t)
					c.chopped = chopped && len(r.bytes()) < 1000
					c.write(r.bytes())
					c.expectStream(p)
					n.bus.publish("news", "1")
					c.expectEvent("1")
				})
			}
		}
		for name, test := range map[string]struct {
			request request
			status  int
		}{
			"no channel":        {get(path), 400},
			"empty channel":     {get(path + "?channel=a&channel="), 400},
			"broken query":      {get(path + "?channel=%zz"), 400},
			"no UTF-8":          {get(path + "?channel=%ff"), 400},
			"long name":         {get(path + "?channel=" + strings.Repeat("x", 256)), 400},
			"many channels":     {get(path + "?channel=a&channel=b&channel=c&channel=d"), 400},
			"no host":           {good.with("Host"), 400},
			"two hosts":         {get(path+"?channel=news", "Host: other.test"), 400},
			"broken header":     {get(path+"?channel=news", "no colon"), 400},
			"body":              {get(path+"?channel=news", "Content-Length: 5"), 400},
			"chunked body":      {get(path+"?channel=news", "Transfer-Encoding: chunked"), 400},
			"other origin":      {get(path+"?channel=news", "Origin: http://other.test"), 403},
			"path prefix":       {get(path + "/more?channel=news"), 404},
			"HEAD":              {withMethod(good, "HEAD"), 405},
			"POST":              {withMethod(good, "POST"), 405},
			"POST HTTP/1.0":     {withVersion(withMethod(good, "POST"), "HTTP/1.0"), 405},
			"oversized headers": {get(path+"?channel=news", "Cookie: a="+strings.Repeat("x", 2*modes.DefaultMaxHeaderSize)), 431},
		} {
			t.Run(path+"/"+name, func(t *testing.T) {
				c := n.dial(t)
				c.write(test.request.bytes())
				if test.request.method == "HEAD" {
					c.deadline()
					r, err := http.ReadResponse(c.in, &http.Request{Method: "HEAD"})
					if err != nil || r.StatusCode != test.status {
						t.Fatalf("got %v, %v, want %d", r, err, test.status)
					}
					return
				}
				r := c.expectRefusal(test.status)
				if allow := r.Header.Get("Allow"); test.status == 405 && allow != "GET" {
					t.Errorf("Allow is %q, want GET", allow)
				}
			})
		}
	}
	n.settle(t)
	full := start(t, build, func(s *setup) { s.admission.MaxConnections = 2 })
	full.openStream(t, modes.PathSSE+"?channel=news")
	full.session(t)
	full.awaitConnections(t, 2)
	for path := range streams {
		c := full.dial(t)
		c.write(get(path + "?channel=news").bytes())
		c.expectRefusal(http.StatusServiceUnavailable)
	}
	awaitCount(t, full.stats.Refused, admission.RefusedFull.Reason, 2)
	address := start(t, build, func(s *setup) {
		s.admission.ConnectionsPerAddress = 1
		s.admission.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	from := "X-Forwarded-For: 192.0.2.1"
	one := address.openStream(t, modes.PathSSE+"?channel=news", from)
	for path := range streams {
		c := address.dial(t)
		c.write(get(path+"?channel=news", from).bytes())
		c.expectRefusal(http.StatusTooManyRequests)
	}
	address.openStream(t, modes.PathSSE+"?channel=news", "X-Forwarded-For: 192.0.2.2").leave()
	one.leave()
	address.awaitConnections(t, 0)
	address.openStream(t, modes.PathStream+"?channel=news", from)
}

// A proxy that reuses its connections sends the request after others.
func testStreamLater(t *testing.T, build Build) {
	n := start(t, build, nil)
	for path, p := range streams {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			head := n.dial(t)
			head.write(withMethod(get(path+"?channel=news"), "HEAD").bytes())
			head.deadline()
			if r, err := http.ReadResponse(head.in, &http.Request{Method: "HEAD"}); err != nil || r.StatusCode != 405 {
				t.Fatalf("HEAD: got %v, %v, want 405", r, err)
			}
			// A refusal ends its connection.
			head.expectEnd()
			c := n.dial(t)
			c.write(plain("GET", "").bytes())
			c.expectPlain("GET", "", "")
			c.write(withVersion(get(path+"?channel=news"), version).bytes())
			c.expectStream(p)
			n.bus.publish("news", "1")
			c.expectEvent("1")
		}
	}
	// A path may be written in several ways, and must not go round in circles.
	c := n.dial(t)
	c.write(upgrade("/%65cho").bytes())
	c.expectUpgrade("")
	c.send(text("understood"))
	c.expect(text("understood"))
}

// Scripts of other origins may read what the door lets them have, refusals
// included.
func testStreamOrigins(t *testing.T, build Build) {
	closed := start(t, build, nil)
	listed := start(t, build, func(s *setup) { s.admission.AllowedOrigins = []string{"https://*.example.com"} })
	anyone := start(t, build, func(s *setup) { s.admission.AllowedOrigins = []string{"*"} })
	for _, test := range []struct {
		name                string
		n                   *node
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
		for path, p := range streams {
			t.Run(test.name+path, func(t *testing.T) {
				c := test.n.dial(t)
				c.write(get(path+"?channel=news", "Origin: "+test.origin).bytes())
				if test.status == 200 {
					check(t, c.expectStream(p))
				} else {
					check(t, c.expectRefusal(test.status))
				}
				c = test.n.dial(t)
				c.write(get(path+"?channel=", "Origin: "+test.origin).bytes())
				r, _ := c.response()
				check(t, r)
				c = test.n.dial(t)
				c.write(withMethod(get(path, "Origin: "+test.origin, "Access-Control-Request-Method: GET"), "OPTIONS").bytes())
				r, _ = c.response()
				if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Methods") != "GET" {
					t.Errorf("preflight: got %s, methods %q", r.Status, r.Header.Get("Access-Control-Allow-Methods"))
				}
				check(t, r)
			})
		}
	}
}
