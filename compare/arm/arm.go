// Package arm says what compare measures: a server that it starts with an
// environment, or one that runs already and speaks the same protocol.
package arm

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

// ErrArm says that an arm is unknown or not written as it should be.
var ErrArm = errors.New("arm")

// Arm is one thing that is measured: a name and an environment, or External.
type Arm struct {
	Name string
	// Env are the KEY=VALUE settings of a server that compare starts.
	Env []string
	// External is the running server that is measured instead; nil if there is none.
	External *External
	// Custom means that the user has defined it.
	Custom bool
}

// External is a server that somebody else started and will stop.
type External struct {
	// Addr is host:port, Path the request path ("" the protocol's own).
	Addr, Path string
	// Protocol is one of package load's.
	Protocol string
	// PID of the server's process, for its CPU and memory.
	PID int
	// Redis is the URL of the Redis it receives publications from, Prefix what
	// its channels begin with there.
	Redis, Prefix string
	// API is the URL of its HTTP publish call, Key the API key. One of Redis and
	// API is set.
	API, Key string
	// Internal is http://host:port of a Go server's /metrics and /debug/pprof;
	// "": none.
	Internal string
}

// The built-in arms.
const (
	Idiomatic = "idiomatic"
	Tuned     = "idiomatic-tuned"
	Optimized = "optimized"
)

// Builtin are the arms that come with compare, in the order of the tables.
func Builtin() []Arm {
	return []Arm{
		{Name: Idiomatic, Env: []string{"MODE=idiomatic"}},
		{Name: Tuned, Env: []string{"MODE=idiomatic", "READ_BUFFER_SIZE=1024", "WRITE_BUFFER_SIZE=1024", "WRITE_BUFFER_POOL=true"}},
		{Name: Optimized, Env: []string{"MODE=optimized"}},
	}
}

// Choose returns the built-in arms named in the comma-separated list only (all of
// them if it is empty) and those of specs, each as Parse takes it.
func Choose(only string, specs []string) ([]Arm, error) {
	var arms []Arm
	builtin := Builtin()
	if only == "" {
		arms = builtin
	}
	for name := range strings.SplitSeq(only, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		i := slices.IndexFunc(builtin, func(a Arm) bool { return a.Name == name })
		if i < 0 && name != "none" {
			return nil, fmt.Errorf("%w: %q is unknown: use %s, or add one with -arm NAME=KEY=VALUE", ErrArm, name, names(builtin))
		}
		if i >= 0 {
			arms = append(arms, builtin[i])
		}
	}
	for _, spec := range specs {
		a, err := Parse(spec)
		if err != nil {
			return nil, err
		}
		arms = append(arms, a)
	}
	seen := make(map[string]bool)
	for _, a := range arms {
		if seen[a.Name] {
			return nil, fmt.Errorf("%w: %q is named twice", ErrArm, a.Name)
		}
		seen[a.Name] = true
	}
	if len(arms) == 0 {
		return nil, fmt.Errorf("%w: there is none to measure", ErrArm)
	}
	return arms, nil
}

func names(arms []Arm) string {
	list := make([]string, len(arms))
	for i, a := range arms {
		list[i] = a.Name
	}
	return strings.Join(list, ", ")
}

// reserved are settings that compare makes itself.
var reserved = []string{"ADDR", "INTERNAL_ADDR", "REDIS_URL", "REDIS_PREFIX", "EMBEDDED_REDIS_ADDR"}

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$`)
	validKey  = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
)

// Parse reads NAME=KEY=VALUE,KEY=VALUE or NAME=ws://host:port[/path],pid=N and
// redis=redis://host:port or api=http://host:port/api/publish. A value may hold
// commas: what follows a comma and begins with no KEY= belongs to the value
// before.
func Parse(spec string) (Arm, error) {
	name, rest, ok := strings.Cut(spec, "=")
	if !ok || rest == "" {
		return Arm{}, fmt.Errorf("%w: %q: write NAME=KEY=VALUE,... or NAME=ws://host:port/path,pid=N,redis=URL", ErrArm, spec)
	}
	if !validName.MatchString(name) {
		return Arm{}, fmt.Errorf("%w: %q is no name: use up to 40 letters, digits, dots and dashes", ErrArm, name)
	}
	if strings.HasPrefix(rest, "ws://") || strings.HasPrefix(rest, "wss://") {
		e, err := parseExternal(name, rest)
		return Arm{Name: name, External: e, Custom: true}, err
	}
	env, err := settings(name, rest, validKey)
	if err != nil {
		return Arm{}, err
	}
	for _, kv := range env {
		if key, _, _ := strings.Cut(kv, "="); slices.Contains(reserved, key) {
			return Arm{}, fmt.Errorf("%w: %s: %s is compare's to set: leave it out", ErrArm, name, key)
		}
	}
	return Arm{Name: name, Env: env, Custom: true}, nil
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
			return nil, fmt.Errorf("%w: %s: %q is no KEY=VALUE", ErrArm, name, part)
		}
	}
	return all, nil
}

var externalKey = regexp.MustCompile(`^(pid|redis|prefix|api|key|protocol|internal)$`)

func parseExternal(name, spec string) (*External, error) {
	address, rest, _ := strings.Cut(spec, ",")
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "ws" {
		return nil, fmt.Errorf("%w: %s: %q: only ws:// can be measured, for TLS would be measured with it", ErrArm, name, address)
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return nil, fmt.Errorf("%w: %s: %q has no port: write ws://host:port/path", ErrArm, name, address)
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
		return nil, fmt.Errorf("%w: %s: pid=N is missing: the server's process id, to read its CPU and memory", ErrArm, name)
	case (e.Redis == "") == (e.API == ""):
		return nil, fmt.Errorf("%w: %s: give either redis=redis://host:port or api=http://host:port/api/publish, to publish through", ErrArm, name)
	}
	return e, nil
}

func (e *External) set(name, key, value string) error {
	switch key {
	case "pid":
		n, err := strconv.Atoi(value)
		if err != nil || n <= 0 {
			return fmt.Errorf("%w: %s: pid=%s is no process id", ErrArm, name, value)
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
			return fmt.Errorf("%w: %s: protocol=%s is none of centrifuge, raw, floor", ErrArm, name, value)
		}
		e.Protocol = value
	}
	for key, scheme := range map[string]string{"redis": "redis", "api": "http", "internal": "http"} {
		v := map[string]string{"redis": e.Redis, "api": e.API, "internal": e.Internal}[key]
		if u, err := url.Parse(v); v != "" && (err != nil || u.Scheme != scheme || u.Host == "") {
			return fmt.Errorf("%w: %s: %s=%s: write %s://host:port", ErrArm, name, key, v, scheme)
		}
	}
	return nil
}
