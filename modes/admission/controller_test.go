package admission

import (
	"errors"
	"testing"
)

func newController(t *testing.T, o Options) *Controller {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOrigins(t *testing.T) {
	for name, c := range map[string]struct {
		allowed      []string
		host, origin string
		in           bool
	}{
		"no origin":                    {nil, "a.example", "", true},
		"same host":                    {nil, "a.example:8080", "http://A.example:8080", true},
		"other port":                   {nil, "a.example:8080", "http://a.example", false},
		"other host":                   {nil, "a.example", "https://b.example", false},
		"default port in Host":         {nil, "example.com:443", "https://example.com", true},
		"default port in Origin":       {nil, "example.com", "http://example.com:80", true},
		"default port of IPv6":         {nil, "[::1]:443", "https://[::1]", true},
		"port of the other scheme":     {nil, "example.com:443", "http://example.com", false},
		"another port":                 {nil, "example.com:4430", "https://example.com", false},
		"host in another case":         {nil, "EXAMPLE.com:443", "HTTPS://example.COM", true},
		"user in the origin":           {nil, "example.com", "https://user@example.com", false},
		"two origins in one":           {[]string{"https://*.example.com"}, "a.example", "https://evil.test,x.example.com", false},
		"default port in the list":     {[]string{"https://b.example:443"}, "a.example", "https://b.example", true},
		"default port beside the list": {[]string{"https://b.example"}, "a.example", "https://b.example:443", true},
		"null in the list":             {[]string{"null"}, "a.example", "null", true},
		"file in the list":             {[]string{"file://"}, "a.example", "file://", true},
		"no URL":                       {nil, "a.example", "null", false},
		"anyone":                       {[]string{"*"}, "a.example", "https://b.example", true},
		"listed":                       {[]string{"https://b.example"}, "a.example", "https://B.example", true},
		"listed host":                  {[]string{"b.example"}, "a.example", "http://b.example", true},
		"not the own host":             {[]string{"https://b.example"}, "a.example", "https://a.example", false},
		"pattern":                      {[]string{"https://*.b.example"}, "a.example", "https://x.b.example", true},
		"beyond a pattern":             {[]string{"https://*.b.example"}, "a.example", "https://x.b.example.evil", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newController(t, Options{AllowedOrigins: c.allowed})
			if got := d.Admit(c.host, c.origin); (got == nil) != c.in {
				t.Errorf("host %q origin %q: %v, want in %v", c.host, c.origin, got, c.in)
			}
		})
	}
	if _, err := New(Options{AllowedOrigins: []string{"["}}); !errors.Is(err, ErrOriginPattern) {
		t.Errorf("a broken pattern: %v", err)
	}
}

func TestLimits(t *testing.T) {
	d := newController(t, Options{ConnectRate: 1})
	if got := d.Admit("", ""); got != nil {
		t.Errorf("the first: %v", got)
	}
	if got := d.Admit("", ""); got != RefusedRate {
		t.Errorf("the second at once: %v", got)
	}
}
