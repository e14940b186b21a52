package run

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
)

// settings are kernel settings that affect the figures.
var settings = []string{
	"net/core/somaxconn", "net/core/netdev_max_backlog", "net/ipv4/tcp_max_syn_backlog",
	"net/ipv4/ip_local_port_range", "net/ipv4/tcp_mem", "net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem",
	"net/ipv4/tcp_tw_reuse", "net/netfilter/nf_conntrack_max", "fs/file-max", "vm/overcommit_memory",
}

// host describes the machine; what cannot be read is left empty.
func host() (result.Host, result.Limits) {
	h := result.Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Kernel: readWord("/proc/sys/kernel/osrelease")}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range bytes.Lines(text) {
			key, value, _ := strings.Cut(string(line), ":")
			switch strings.TrimSpace(key) {
			case "model name":
				if h.CPU == "" {
					h.CPU = strings.TrimSpace(value)
				}
			case "flags":
				h.Virtual = h.Virtual || strings.Contains(value, " hypervisor")
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range bytes.Lines(text) {
			if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == "MemTotal:" {
				kb, _ := strconv.ParseUint(string(fields[1]), 10, 64) // 0: unknown
				h.Memory = kb << 10
			}
		}
	}
	limits := result.Limits{Files: testbed.FileLimit(), Settings: map[string]string{}}
	for _, s := range settings {
		if v := readWord("/proc/sys/" + s); v != "" {
			limits.Settings[strings.ReplaceAll(s, "/", ".")] = v
		}
	}
	return h, limits
}

func readWord(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(b)), " ")
}
