// Package variant describes what compare measures: a server that it starts with an
// environment, or a running one that speaks the same protocol.
package variant

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-ws/tandem/compare/load"
)

// ErrVariant means that a variant is unknown or malformed.
var ErrVariant = errors.New("variant")

// Variant is something to measure: a name and an environment, or External.
type Variant struct {
	Name string
	// Env are the KEY=VALUE settings of a server that compare starts.
	Env []string
	// External is the running server that is measured instead; nil if there is none.
	External *External
	// Custom means that the user has defined it.
	Custom bool
}

// External is a running server that the user starts and stops.
type External struct {
	// Addr is host:port. Path is the request path; "" means that of the protocol.
	Addr, Path string
	// Protocol is one of package load's.
	Protocol string
	// PID of the server's process, for its CPU and memory.
	PID int
	// Redis is the URL of the Redis that it receives publications from. Prefix starts
	// the names of its channels there.
	Redis, Prefix string
	// API is the URL of its HTTP publish call, and Key the API key. Either Redis or
	// API is set.
	API, Key string
	// Internal is http://host:port of a Go server's /metrics and /debug/pprof, if it
	// has any.
	Internal string
}

// The built-in variants.
const (
	Idiomatic = "idiomatic"
	Tuned     = "idiomatic-tuned"
	Optimized = "optimized"
)

// Builtin returns the built-in variants in the order of the tables.
func Builtin() []Variant {
	return []Variant{
		{Name: Idiomatic, Env: []string{"MODE=idiomatic"}},
		{Name: Tuned, Env: []string{"MODE=idiomatic", "READ_BUFFER_SIZE=1024", "WRITE_BUFFER_SIZE=1024", "WRITE_BUFFER_POOL=true"}},
		{Name: Optimized, Env: []string{"MODE=optimized"}},
	}
}

// Choose returns the built-in variants named in the comma-separated list only (all if
// it is empty) and those of specs, which Parse parses.
func Choose(only string, specs []string) ([]Variant, error) {
	var variants []Variant
	builtin := Builtin()
	if only == "" {
		variants = builtin
	}
	for name := range strings.SplitSeq(only, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		i := slices.IndexFunc(builtin, func(a Variant) bool { return a.Name == name })
		if i < 0 && name != "none" {
			return nil, fmt.Errorf("%w: %q is unknown: use %s, or add one with -variant NAME=KEY=VALUE", ErrVariant, name, names(builtin))
		}
		if i >= 0 {
			variants = append(variants, builtin[i])
		}
	}
	for _, spec := range specs {
		a, err := Parse(spec)
		if err != nil {
			return nil, err
		}
		variants = append(variants, a)
	}
	seen := make(map[string]bool)
	for _, a := range variants {
		if seen[a.Name] {
			return nil, fmt.Errorf("%w: %q is named twice", ErrVariant, a.Name)
		}
		seen[a.Name] = true
	}
	if len(variants) == 0 {
		return nil, fmt.Errorf("%w: there is nothing to measure", ErrVariant)
	}
	return variants, nil
}

func names(variants []Variant) string {
	list := make([]string, len(variants))
	for i, a := range variants {
		list[i] = a.Name
	}
	return strings.Join(list, ", ")
}

// reserved are settings that only compare sets.
var reserved = []string{"ADDR", "INTERNAL_ADDR", "REDIS_URL", "REDIS_PREFIX", "EMBEDDED_REDIS_ADDR"}

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$`)
	validKey  = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
)

// Parse parses NAME=KEY=VALUE,KEY=VALUE or NAME=ws://host:port[/path],pid=N followed
// by redis=redis://host:port or api=http://host:port/api/publish. Values may contain
// commas: what follows a comma and does not start with KEY= belongs to the value
// before.
func Parse(spec string) (Variant, error) {
	name, rest, ok := strings.Cut(spec, "=")
	if !ok || rest == "" {
		return Variant{}, fmt.Errorf("%w: %q: write NAME=KEY=VALUE,... or NAME=ws://host:port/path,pid=N,redis=URL", ErrVariant, spec)
	}
	if !validName.MatchString(name) {
		return Variant{}, fmt.Errorf("%w: invalid name %q: use up to 40 letters, digits, dots and dashes", ErrVariant, name)
	}
	if strings.HasPrefix(rest, "ws://") || strings.HasPrefix(rest, "wss://") {
		e, err := parseExternal(name, rest)
		return Variant{Name: name, External: e, Custom: true}, err
	}
	env, err := settings(name, rest, validKey)
	if err != nil {
		return Variant{}, err
	}
	for _, kv := range env {
		if key, _, _ := strings.Cut(kv, "="); slices.Contains(reserved, key) {
			return Variant{}, fmt.Errorf("%w: %s: %s is set by compare: leave it out", ErrVariant, name, key)
		}
	}
	return Variant{Name: name, Env: env, Custom: true}, nil
}

// settings splits KEY=VALUE,KEY=VALUE.
func settings(name, list string, key *regexp.Regexp) ([]string, error) {
	var all []string
	for part := range strings.SplitSeq(list, ",") {
		k, _, ok := strings.Cut(part, "=")
		switch {
		case ok && key.MatchString(k):
			all = append(all, part)
		case len(all) > 0:
			all[len(all)-1] += "," + part
		default:
			return nil, fmt.Errorf("%w: %s: %q is not KEY=VALUE", ErrVariant, name, part)
		}
	}
	return all, nil
}

var externalKey = regexp.MustCompile(`^(pid|redis|prefix|api|key|protocol|internal)$`)

func parseExternal(name, spec string) (*External, error) {
	address, rest, _ := strings.Cut(spec, ",")
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "ws" {
		return nil, fmt.Errorf("%w: %s: %q: only ws:// can be measured: with TLS, its cost would be included", ErrVariant, name, address)
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return nil, fmt.Errorf("%w: %s: %q has no port: write ws://host:port/path", ErrVariant, name, address)
	}
	e := &External{Addr: u.Host, Path: u.RequestURI(), Protocol: load.Centrifuge}
	if u.Path == "" {
		e.Path = ""
	}
	if rest != "" {
		list, err := settings(name, rest, externalKey)
		if err != nil {
			return nil, fmt.Errorf("%w: an external server takes pid, redis, prefix, api, key, protocol and internal", err)
		}
		for _, s := range list {
			k, v, _ := strings.Cut(s, "=")
			if err := e.set(name, k, v); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case e.PID == 0:
		return nil, fmt.Errorf("%w: %s: pid=N is missing: the server's process id, to read its CPU and memory", ErrVariant, name)
	case (e.Redis == "") == (e.API == ""):
		return nil, fmt.Errorf("%w: %s: give either redis=redis://host:port or api=http://host:port/api/publish, to publish through", ErrVariant, name)
	}
	return e, nil
}

func (e *External) set(name, key, value string) error {
	switch key {
	case "pid":
		n, err := strconv.Atoi(value)
		if err != nil || n <= 0 {
			return fmt.Errorf("%w: %s: pid=%s is not a process id", ErrVariant, name, value)
		}
		e.PID = n
	case "redis":
		e.Redis = value
	case "prefix":
		e.Prefix = value
	case "api":
		e.API = value
	case "key":
		e.Key = value
	case "internal":
		e.Internal = strings.TrimSuffix(value, "/")
	case "protocol":
		if value != load.Centrifuge && value != load.Raw && value != load.Floor {
			return fmt.Errorf("%w: %s: unknown protocol=%s: use centrifuge, raw or floor", ErrVariant, name, value)
		}
		e.Protocol = value
	}
	for key, scheme := range map[string]string{"redis": "redis", "api": "http", "internal": "http"} {
		v := map[string]string{"redis": e.Redis, "api": e.API, "internal": e.Internal}[key]
		if u, err := url.Parse(v); v != "" && (err != nil || u.Scheme != scheme || u.Host == "") {
			return fmt.Errorf("%w: %s: %s=%s: write %s://host:port", ErrVariant, name, key, v, scheme)
		}
	}
	return nil
}
