package process

import (
	"fmt"
	"net"
)

// FreePort returns a TCP port of loopback that nothing listens on. Another process
// may take it before the caller does.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("process: find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("process: find a free port: %w", err)
	}
	return port, nil
}
