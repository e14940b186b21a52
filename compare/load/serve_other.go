//go:build !linux

package load

import (
	"context"
	"io"
)

// Serve runs a load process; on this system it returns ErrUnsupported.
func Serve(_ context.Context, in io.ReadCloser, _ io.Writer) error {
	_ = in.Close()
	return ErrUnsupported
}
