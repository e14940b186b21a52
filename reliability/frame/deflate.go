package frame

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"
)

const (
	// OfferDeflate is the header of a handshake that offers permessage-deflate (RFC
	// 7692) without context from one message to the next.
	OfferDeflate = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	// AgreedDeflate is the value of the header that accepts it.
	AgreedDeflate = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

	// deflateTail is what a sender omits (RFC 7692 section 7.2.1); the final block
	// after it marks the end of a message that is complete.
	deflateTail = "\x00\x00\xff\xff"
	finalBlock  = "\x01\x00\x00\xff\xff"
)

var (
	inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}
	deflaters = sync.Pool{New: func() any {
		// An error would mean that the level does not exist.
		w, _ := flate.NewWriter(nil, flate.BestSpeed)
		return w
	}}
)

// ReadDeflate is Read if OfferDeflate was accepted. It reports whether the message was
// compressed, and body is the inflated message.
func ReadDeflate(in *bufio.Reader, buf []byte) (op byte, body []byte, compressed bool, err error) {
	first, body, err := read(in, buf)
	op, compressed = first&0x0f, first&rsv1 != 0
	if err != nil || !compressed {
		return op, body, compressed, err
	}
	if op >= Close { // RFC 7692 section 6.1
		return op, body, true, ErrFrame
	}
	inflater := inflaters.Get().(io.Reader)
	defer inflaters.Put(inflater)
	source := io.MultiReader(bytes.NewReader(body), bytes.NewReader([]byte(deflateTail+finalBlock)))
	// It does not read, so it cannot fail.
	_ = inflater.(flate.Resetter).Reset(source, nil)
	body, err = io.ReadAll(io.LimitReader(inflater, maxFrame))
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return op, body, true, err
}

// AppendDeflate is Append for a message that is to be compressed.
func AppendDeflate(dst []byte, op byte, body []byte) []byte {
	var small bytes.Buffer
	deflater := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(deflater)
	deflater.Reset(&small)
	// Writes to a bytes.Buffer do not fail.
	_, _ = deflater.Write(body)
	_ = deflater.Flush()
	at := len(dst)
	dst = Append(dst, op, bytes.TrimSuffix(small.Bytes(), []byte(deflateTail)))
	dst[at] |= rsv1
	return dst
}
