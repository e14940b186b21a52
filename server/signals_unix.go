//go:build unix

package server

import (
	"os"
	"os/signal"
	"syscall"
)

// ignoreSignals keeps signals from ending the process that operators send to other
// servers to reload their configuration or to reopen their log, and the one that
// comes if the reader of standard error has gone. A node with a certificate reloads
// it on SIGHUP all the same. The caller calls restore at the end.
func ignoreSignals() (restore func()) {
	signal.Ignore(syscall.SIGPIPE)
	// Ignore would take SIGHUP from the node. Nothing reads the channel: what is sent
	// to one that is full is lost.
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	return func() {
		signal.Stop(unread)
		signal.Reset(syscall.SIGPIPE)
	}
}
