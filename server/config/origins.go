package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Origins returns the patterns of ALLOWED_ORIGINS in the form in which browsers send
// origins: in lower case, without a default port, with names in ASCII. A pattern that no
// origin can match is an error.
func (c *Config) Origins() (patterns []string, err error) {
	for _, text := range c.AllowedOrigins {
		pattern, err := originPattern(text)
		if err != nil {
			return nil, fmt.Errorf("%q %w", text, err)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// originPattern returns the pattern for path.Match that text stands for. The error
// completes a sentence about text.
func originPattern(text string) (string, error) {
	scheme, host, hasScheme := strings.Cut(strings.ToLower(text), "://")
	switch {
	case text == "*":
		return text, nil
	case strings.EqualFold(text, "null") || scheme == "file":
		return "", errors.New("cannot be allowed: every page without an origin, such as a file, sends null, those of attackers too")
	case !hasScheme:
		scheme, host = "", strings.ToLower(text)
	case scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.*?[]") != "":
		return "", errors.New("has no valid scheme")
	}
	host = strings.TrimSuffix(host, "/")
	if strings.ContainsAny(host, "/#@") {
		return "", errors.New("is more than an origin, which is a scheme, a host and perhaps a port")
	}
	host, port, err := hostPattern(host)
	if err != nil {
		return "", err
	}
	switch {
	case port == "80" && scheme == "http", port == "443" && scheme == "https":
		port = ""
	case port == "80" && scheme == "":
		scheme, port = "http", ""
	case port == "443" && scheme == "":
		scheme, port = "https", ""
	}
	pattern := host
	if port != "" {
		pattern += ":" + port
	}
	if scheme != "" {
		pattern = scheme + "://" + pattern
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return "", errors.New("is not a valid pattern")
	}
	return pattern, nil
}

// hostPattern splits a host and its port, either of which may be a pattern, and
// returns the host in ASCII.
func hostPattern(text string) (host, port string, err error) {
	if address, rest, ok := strings.Cut(strings.TrimPrefix(text, "["), "]"); ok && text[0] == '[' && strings.Contains(address, ":") {
		ip, err := netip.ParseAddr(address)
		if err != nil || ip.Zone() != "" || rest != "" && rest[0] != ':' {
			return "", "", errors.New("has no valid IPv6 address")
		}
		host, port = `\[`+ip.String()+`\]`, rest
	} else if at := strings.LastIndexByte(text, ':'); at >= 0 {
		host, port = text[:at], text[at:]
	} else {
		host = text
	}
	if port != "" {
		port = port[1:]
		n, err := strconv.Atoi(port)
		if !strings.ContainsAny(port, "*?[") && (err != nil || n < 1 || n > 65535) {
			return "", "", errors.New("has no valid port")
		}
	}
	if host, err = asciiHost(host); err != nil {
		return "", "", err
	}
	return host, port, nil
}

// asciiHost returns a host as browsers send it.
func asciiHost(host string) (string, error) {
	if host == "" {
		return "", errors.New("has no host")
	}
	if strings.HasPrefix(host, `\[`) {
		return host, nil
	}
	labels := strings.Split(host, ".")
	for i, label := range labels {
		if strings.IndexFunc(label, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
			ascii, err := idna.Lookup.ToASCII(label)
			if err != nil {
				return "", errors.New("has a name that cannot be written in ASCII")
			}
			labels[i] = ascii
		}
	}
	host = strings.Join(labels, ".")
	for _, r := range host {
		if !strings.ContainsRune(`abcdefghijklmnopqrstuvwxyz0123456789.-_*?[]^\`, r) {
			return "", fmt.Errorf("holds %q, which no host has: separate origins by commas", r)
		}
	}
	return host, nil
}
