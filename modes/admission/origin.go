package admission

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// ErrOriginPattern says that an AllowedOrigins pattern cannot be matched.
var ErrOriginPattern = errors.New("admission: bad origin pattern")

// origins decides which origins are let in (RFC 6455 section 10.2).
type origins struct {
	patterns []string // in lower case, of scheme://host or of host alone
	any      bool
}

func newOrigins(patterns []string) (o origins, err error) {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return origins{}, fmt.Errorf("%w: %q", ErrOriginPattern, pattern)
		}
		o.any = o.any || pattern == "*"
		pattern = strings.ToLower(pattern)
		if scheme, host, ok := strings.Cut(pattern, "://"); ok {
			pattern = scheme + "://" + withoutDefaultPort(scheme, host)
		}
		o.patterns = append(o.patterns, pattern)
	}
	return o, nil
}

// allow reports whether a request with these headers is let in.
func (o *origins) allow(host, origin string) bool {
	if o.any {
		return true
	}
	origin = strings.ToLower(origin)
	if slices.Contains(o.patterns, origin) {
		// Such as null and file://, which have no host.
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.User != nil || !hostOnly(u.Host) {
		return false
	}
	own := withoutDefaultPort(u.Scheme, u.Host)
	if len(o.patterns) == 0 {
		return own == withoutDefaultPort(u.Scheme, strings.ToLower(host))
	}
	for _, pattern := range o.patterns {
		// newOrigins has tried every pattern.
		if ok, _ := path.Match(pattern, u.Scheme+"://"+own); ok {
			return true
		}
		if ok, _ := path.Match(pattern, own); ok {
			return true
		}
	}
	return false
}

// withoutDefaultPort returns a host without the port that its scheme implies:
// browsers leave that out of Origin, and others may not leave it out of Host.
func withoutDefaultPort(scheme, host string) string {
	switch scheme {
	case "http", "ws":
		return strings.TrimSuffix(host, ":80")
	case "https", "wss":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// hostOnly reports whether a host, which may have a port, is one of a browser's. A
// comma could make two origins one that matches a pattern.
func hostOnly(host string) bool {
	return host != "" && !strings.ContainsAny(host, ",;!$&'()*+=")
}

// SameHostOnly reports whether every origin on the request's own host is let in and
// no other, so that a caller that has compared them can leave the origin out.
func (c *Controller) SameHostOnly() bool { return len(c.origins.patterns) == 0 }

// Share returns the values of Access-Control-Allow-Origin and
// Access-Control-Allow-Credentials that let scripts of an origin which is let in
// read a response (Fetch, section 3.3); empty: the header is left out. If any origin
// is let in, it is so without credentials.
func (c *Controller) Share(host, origin string) (allowOrigin, allowCredentials string) {
	switch {
	case origin == "" || !c.origins.allow(host, origin):
		return "", ""
	case c.origins.any:
		return "*", ""
	}
	return origin, "true"
}
