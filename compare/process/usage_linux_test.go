package process

import (
	"strings"
	"testing"
	"time"
)

func TestCPUs(t *testing.T) {
	p, err := Start(Spec{Name: "sh", Path: "/bin/sh", Pipes: true, CPUs: []int{0}, Args: []string{"-c", "grep Cpus_allowed_list /proc/self/status; read line"}})
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := p.Stdout.Read(b)
	if err != nil || strings.Fields(string(b[:n]))[1] != "0" {
		t.Errorf("got %q, %v", b[:n], err)
	}
	if err := p.Stop(time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := Start(Spec{Name: "sh", Path: "/bin/sh", CPUs: []int{1000}}); err == nil {
		t.Error("started on a CPU that does not exist")
	}
}

func TestUsage(t *testing.T) {
	p, err := Start(Spec{Name: "sh", Path: "/bin/sh", Pipes: true, Args: []string{"-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; read line"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stdout.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if used, err := p.CPU(); err != nil || used <= 0 {
		t.Errorf("CPU %v, %v", used, err)
	}
	if m, err := p.Memory(); err != nil || m.PSS == 0 || m.PSS > m.RSS || m.Anonymous > m.PSS {
		t.Errorf("memory %+v, %v", m, err)
	}
	if used, err := CPU(0); err != nil || used <= 0 {
		t.Errorf("own CPU %v, %v", used, err)
	}
	if used, err := MachineCPU(); err != nil || used <= 0 {
		t.Errorf("machine's CPU %v, %v", used, err)
	}
	if m, err := ReadMemory(0); err != nil || m.PSS == 0 {
		t.Errorf("own memory %+v, %v", m, err)
	}
	if err := p.Stop(time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := p.CPU(); err == nil {
		t.Error("CPU of a process that is gone")
	}
	if _, err := p.Memory(); err == nil {
		t.Error("memory of a process that is gone")
	}
}
