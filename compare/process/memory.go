package process

import "time"

// Memory is what a process holds, in bytes.
type Memory struct {
	RSS uint64 `json:"rss"`
	// PSS counts pages shared with other processes in part.
	PSS uint64 `json:"pss"`
	// Anonymous is the part of PSS that is no file: heap and stacks.
	Anonymous uint64 `json:"anonymous"`
}

// CPU is what the process has used so far; see the function CPU.
func (p *Process) CPU() (time.Duration, error) { return CPU(p.PID()) }

// Memory is what the process holds now; see ReadMemory.
func (p *Process) Memory() (Memory, error) { return ReadMemory(p.PID()) }
