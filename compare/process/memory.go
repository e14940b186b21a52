package process

import "time"

// Memory is what a process holds, in bytes.
type Memory struct {
	RSS uint64 `json:"rss"`
	// PSS counts pages that are shared with other processes in part only.
	PSS uint64 `json:"pss"`
	// Anonymous is the part of PSS that is not backed by files: heap and stacks.
	Anonymous uint64 `json:"anonymous"`
}

// CPU returns what the process has used so far; see the function CPU.
func (p *Process) CPU() (time.Duration, error) { return CPU(p.PID()) }

// Memory returns what the process holds now; see ReadMemory.
func (p *Process) Memory() (Memory, error) { return ReadMemory(p.PID()) }
