package redisbus

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Schemes of URLs that name sentinels, each with that of a single Redis that says
// the same of how to connect.
var sentinelSchemes = map[string]string{"redis+sentinel": "redis", "rediss+sentinel": "rediss"}

func isSentinel(address string) bool {
	scheme, _, _ := strings.Cut(address, "://")
	return sentinelSchemes[strings.ToLower(scheme)] != ""
}

// defaultSentinelPort is where a sentinel listens unless it is told otherwise.
const defaultSentinelPort = "26379"

// sentinels returns the topology of a URL that names sentinels.
func (o *Options) sentinels() (*redis.Options, topology, error) {
	bad := func(format string, args ...any) (*redis.Options, topology, error) {
		return nil, nil, fmt.Errorf("redisbus: bad Redis URL: %w; %s", fmt.Errorf(format, args...), formats)
	}
	scheme, rest, _ := strings.Cut(o.URL, "://")
	scheme = sentinelSchemes[strings.ToLower(scheme)]
	// net/url does not take several hosts.
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	user, hosts := "", authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, hosts = authority[:at+1], authority[at+1:]
	}
	path, query, _ := strings.Cut(rest, "?")
	if strings.Contains(rest, "@") {
		return bad("cannot be parsed (special characters in a password must be percent-encoded)")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return bad("its parameters cannot be parsed")
	}
	take := func(name string) string {
		value := values.Get(name)
		values.Del(name)
		return value
	}
	s := &sentinels{name: take("master"), own: o, log: o.Log, moved: make(chan struct{}, 1)}
	if s.name == "" {
		return bad("it names no master: add ?master=mymaster")
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := sentinelAddr(host)
		if err != nil {
			return bad("sentinel %q: %w", host, err)
		}
		s.addrs = append(s.addrs, addr)
	}
	own := url.Values{}
	for _, name := range []string{"dial_timeout", "skip_verify"} {
		if values.Has(name) {
			own.Set(name, values.Get(name))
		}
	}
	sentinelUser := url.UserPassword(take("sentinel_username"), take("sentinel_password"))
	sentinelURL := url.URL{Scheme: scheme, User: sentinelUser, Host: s.addrs[0], RawQuery: own.Encode()}
	if s.opts, err = o.parse(sentinelURL.String()); err != nil {
		return nil, nil, err
	}
	opts, err := o.parse(scheme + "://" + user + s.addrs[0] + path + "?" + values.Encode())
	if err != nil {
		return nil, nil, err
	}
	// It is the sentinels who say.
	opts.Addr, s.opts.Addr = "", ""
	return opts, s, nil
}

// sentinelAddr is host:port of a sentinel, the port being the usual one if there
// is none.
func sentinelAddr(host string) (string, error) {
	if host == "" {
		return "", errors.New("no host")
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), defaultSentinelPort
	}
	if name == "" || strings.ContainsAny(name, " /") {
		return "", errors.New("no host")
	}
	return net.JoinHostPort(name, port), nil
}
