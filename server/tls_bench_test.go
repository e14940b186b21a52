//go:build linux

package server

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/server/certificate/certtest"
)

// BenchmarkTLS measures what TLS costs a server process: bytes of Go memory that an
// idle connection holds, CPU of a connection's coming, and of a message's delivery.
//
//	go test ./server -run '^$' -bench '^BenchmarkTLS$' -benchtime 1x
func BenchmarkTLS(b *testing.B) {
	const connections, messages = 2000, 100
	for _, mode := range allModes() {
		for _, secure := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/tls=%t", mode, secure), func(b *testing.B) {
				for range b.N {
					measureTLS(b, mode, secure, connections, messages)
				}
			})
		}
	}
}

func measureTLS(b *testing.B, mode string, secure bool, connections, messages int) {
	public, internal, redisAddr := freeAddr(b), freeAddr(b), freeAddr(b)
	environ := []string{"MODE=" + mode, "ADDR=" + public, "INTERNAL_ADDR=" + internal, "EMBEDDED_REDIS_ADDR=" + redisAddr,
		"PING_INTERVAL=0", "GOMAXPROCS=1"}
	if secure {
		certFile, keyFile := certtest.Write(b, b.TempDir(), 1)
		environ = append(environ, "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile)
	}
	server := exec.Command(binary)
	server.Env = environ
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if r, err := http.Get("http://" + internal + "/readyz"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(until) {
			b.Fatal("the server does not come up")
		}
	}
	memory := goMemory(b, internal)
	cpu := cpuOf(b, server.Process.Pid)
	var received atomic.Int64
	var readers sync.WaitGroup
	var open []net.Conn
	defer readers.Wait()
	defer func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	for range connections {
		conn, err := net.Dial("tcp", public)
		if err != nil {
			b.Fatal(err)
		}
		if secure {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		open = append(open, conn)
		in := bufio.NewReader(conn)
		if _, err := io.WriteString(conn, "GET /ws?channel=news HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != http.StatusSwitchingProtocols {
			b.Fatalf("upgrade: %v", err)
		}
		readers.Go(func() {
			// A frame's header is two bytes, for the payload is short.
			for {
				frame := make([]byte, 2+payloadBytes)
				if _, err := io.ReadFull(in, frame); err != nil {
					return
				}
				received.Add(1)
			}
		})
	}
	b.ReportMetric(float64(cpuOf(b, server.Process.Pid)-cpu)/float64(time.Microsecond)/float64(connections), "us/connect")
	b.ReportMetric(float64(goMemory(b, internal)-memory)/float64(connections), "B/connection")
	redis, err := net.Dial("tcp", redisAddr)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = redis.Close() }()
	cpu = cpuOf(b, server.Process.Pid)
	for i := range messages {
		if _, err := fmt.Fprintf(redis, "*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$%d\r\n%s\r\n", payloadBytes, strings.Repeat("x", payloadBytes)); err != nil {
			b.Fatal(err)
		}
		for until := time.Now().Add(patience); received.Load() < int64((i+1)*connections); time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				b.Fatalf("%d of %d messages came", received.Load(), (i+1)*connections)
			}
		}
	}
	b.ReportMetric(float64(cpuOf(b, server.Process.Pid)-cpu)/float64(time.Microsecond)/float64(connections*messages), "us/delivery")
	b.ReportMetric(0, "ns/op")
}

const payloadBytes = 120

// freeAddr is an address that nobody listens on.
func freeAddr(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// goMemory is what the server's heap holds after a collection, and its stacks.
func goMemory(b *testing.B, internal string) (sum int) {
	b.Helper()
	for range 2 {
		r, err := http.Get("http://" + internal + "/debug/pprof/heap?gc=1")
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	r, err := http.Get("http://" + internal + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if name == "go_memstats_heap_alloc_bytes" || name == "go_memstats_stack_inuse_bytes" {
			bytes, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += int(bytes)
		}
	}
	return sum
}

// cpuOf is the CPU time that a process has taken, in ticks of 10 ms.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
