package node

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/process"
)

const asServer = "TANDEM_TEST_AS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		serve()
		return
	}
	goleak.VerifyTestMain(m)
}

// serve listens as a server does and answers every request.
func serve() {
	l, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err == nil {
		// l is held until the process ends
		err = http.ListenAndServe(os.Getenv("INTERNAL_ADDR"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}
	fmt.Fprintln(os.Stderr, "fake:", l, err)
	os.Exit(1)
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Name: "fake", Program: self, Env: []string{asServer + "=1"}}
	asked := 0
	o.freePort = func() (int, error) {
		if asked++; asked <= 2 {
			return taken, nil // another program was faster
		}
		return process.FreePort()
	}
	n, err := StartReady(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(0); err != nil {
		t.Error(err)
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			_ = c.Close()
		}
	}()
	o.freePort = func() (int, error) { return taken, nil }
	_, err = StartReady(t.Context(), o)
	_ = l.Close()
	<-accepting
	if !errors.Is(err, process.ErrDied) || !strings.Contains(err.Error(), "address already in use") || strings.Contains(err.Error(), "\n") {
		t.Errorf("no port is ever free: %v", err)
	}
}
