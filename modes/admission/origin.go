package admission

import (
	"errors"
	"fmt"
	"net/url"
	"path"
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
		o.patterns = append(o.patterns, strings.ToLower(pattern))
	}
	return o, nil
}

// allow reports whether a request with these headers is let in.
func (o *origins) allow(host, origin string) bool {
	if o.any {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if len(o.patterns) == 0 {
		return strings.EqualFold(u.Host, host)
	}
	origin = strings.ToLower(origin)
	for _, pattern := range o.patterns {
		// newOrigins has tried every pattern.
		if ok, _ := path.Match(pattern, origin); ok {
			return true
		}
		if ok, _ := path.Match(pattern, strings.ToLower(u.Host)); ok {
			return true
		}
	}
	return false
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
