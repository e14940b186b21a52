package server

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// health reports by the exit code whether the server that runs with the same
// environment is alive.
func health(i *invocation) int {
	if code, done := i.parse(flag.NewFlagSet("health", flag.ContinueOnError), 0, 0); done {
		return code
	}
	c, err := i.config()
	if err == nil {
		err = askHealth(c.InternalAddr)
	}
	return outcome(i.stderr, err)
}

// askHealth returns nil if the server on the internal address is alive.
func askHealth(internalAddr string) error {
	address, err := reachable(internalAddr)
	if err != nil {
		return fmt.Errorf("tandem: health: %w", err)
	}
	client := &http.Client{Timeout: 3 * time.Second}
	response, err := client.Get("http://" + address + "/healthz")
	if err != nil {
		return fmt.Errorf("tandem: health: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("tandem: health: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("tandem: health: %s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// reachable turns an address to listen on into one to connect to from this
// machine.
func reachable(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
