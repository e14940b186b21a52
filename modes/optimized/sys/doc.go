// Package sys makes the system calls that the event loops make most, on
// descriptors that do not block.
//
// They are raw: the Go scheduler is not told of them. It would prepare to take the
// processor away during a call that may block, which these cannot, and that costs
// more than it ever gives (docs/notebook.md, "RawSyscall"). All of them are here,
// so that what is unsafe about them is in one file.
//
// Built with the race detector, the functions are those of golang.org/x/sys/unix
// instead, which tell it of the memory that the kernel reads and writes: so a
// buffer that is used again while it is still being sent is found.
package sys
