//go:build !linux

package publish

import "time"

func sleep(d time.Duration) { time.Sleep(d) }
