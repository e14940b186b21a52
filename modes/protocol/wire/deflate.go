package wire

import (
	"bytes"
	stdflate "compress/flate"
	"errors"
	"io"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

// Errors of Inflate.
var (
	// ErrInflate says that a message is no compressed data. The connection
	// ends with DisconnectInvalidPayload: its frames are right, and what they
	// carry is not of the kind that they say it is (RFC 6455 section 7.4.1).
	ErrInflate = errors.New("wire: message does not inflate")
	// ErrInflatedSize says that a message is larger than it may be once it is
	// inflated: DisconnectTooBig.
	ErrInflatedSize = errors.New("wire: inflated message too big")
	// ErrInflatedText says that a text message is no UTF-8 once it is inflated:
	// DisconnectInvalidPayload.
	ErrInflatedText = errors.New("wire: inflated text is no UTF-8")
)

// InflateEnd returns how a connection ends whose message Inflate has refused.
func InflateEnd(err error) Disconnect {
	if errors.Is(err, ErrInflatedSize) {
		return DisconnectTooBig
	}
	return DisconnectInvalidPayload
}

const (
	// rsv1 in a frame's first byte says that the message is compressed (RFC
	// 7692 section 6).
	rsv1 = 0x40
	// deflateLevel is where the library's speed and ratio meet: level 1 is
	// hardly faster on messages of up to 4 KB, and higher ones gain little.
	deflateLevel = 3
	// deflateLeast is the smallest payload that is compressed: without context
	// a smaller one gains nothing.
	deflateLeast = 128
	// deflateTail is what a sender leaves out and the receiver appends (RFC
	// 7692 section 7.2.1).
	deflateTail = "\x00\x00\xff\xff"
	// finalBlock is an empty last block of DEFLATE. Behind deflateTail it tells
	// the end of a message from a message that was cut.
	finalBlock = "\x01\x00\x00\xff\xff"
	// maxPooled is the largest buffer that is kept for reuse, in bytes.
	maxPooled = 64 << 10
)

// deflater compresses one message at a time.
type deflater struct {
	writer *flate.Writer
	output bytes.Buffer
}

// deflaters are shared, because each has close to a megabyte of tables.
var deflaters = sync.Pool{New: func() any {
	// The error is that of a level that does not exist.
	w, _ := flate.NewWriter(nil, deflateLevel)
	return &deflater{writer: w}
}}

// deflate returns payload compressed, without context from earlier messages, in
// bytes of the deflater's own.
func (d *deflater) deflate(payload []byte) []byte {
	d.output.Reset()
	d.writer.Reset(&d.output)
	// A bytes.Buffer takes everything.
	_, _ = d.writer.Write(payload)
	_ = d.writer.Flush()
	return bytes.TrimSuffix(d.output.Bytes(), []byte(deflateTail))
}

func (d *deflater) release() {
	if d.output.Cap() <= maxPooled {
		deflaters.Put(d)
	}
}

// AppendDeflated appends the complete frame that carries payload, compressed if
// that makes it smaller.
func AppendDeflated(dst []byte, op ws.OpCode, payload []byte) []byte {
	if frame, _ := appendDeflated(dst, op, payload); len(frame) > len(dst) {
		return frame
	}
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// Deflate returns the frame for connections that have negotiated
// permessage-deflate: the message compressed, or f itself where that would not
// be smaller. tried tells whether it was found out by compressing it.
func (f Frame) Deflate() (frame Frame, tried bool) {
	frame, tried = appendDeflated(nil, f.OpCode(), f.Payload())
	if frame == nil {
		return f, tried
	}
	return frame, tried
}

// appendDeflated appends the compressed frame, or nothing where that would not be
// smaller.
func appendDeflated(dst []byte, op ws.OpCode, payload []byte) (frame []byte, tried bool) {
	if len(payload) < deflateLeast {
		return dst, false
	}
	d := deflaters.Get().(*deflater)
	defer d.release()
	small := d.deflate(payload)
	if len(small) >= len(payload) {
		return dst, true
	}
	at := len(dst)
	frame = AppendHeader(slices.Grow(dst, headerSize(len(small))+len(small)), op, len(small))
	frame[at] |= rsv1
	return append(frame, small...), true
}

// Deflated tells whether the frame's message is compressed.
func (f Frame) Deflated() bool { return f[0]&rsv1 != 0 }

// inflater inflates one message at a time. It is Go's own: klauspost's is faster,
// but where a block has no distance code (RFC 1951 section 3.2.7) it goes on with
// that of an earlier block, which in a reader that is used again may be of somebody
// else's message (v1.20.4, TestInflateForgets).
type inflater struct {
	reader io.ReadCloser // a flate.Resetter
	input  []byte
	source bytes.Reader
}

var inflaters = sync.Pool{New: func() any {
	i := new(inflater)
	i.reader = stdflate.NewReader(&i.source)
	return i
}}

// DeflatedLimit is how large the compressed form of a message of at most limit
// bytes may be, in bytes. What does not compress grows: this is zlib's own bound
// for all of its settings.
func DeflatedLimit(limit int) int { return limit + limit>>3 + limit>>6 + 64 }

// Inflate appends to dst the message whose compressed form is payload (RFC 7692
// section 7.2.2). It makes room for no more than limit bytes and one. The error
// is ErrInflate, ErrInflatedSize, or ErrInflatedText where op is that of text.
func Inflate(dst []byte, op ws.OpCode, payload []byte, limit int) ([]byte, error) {
	at := len(dst)
	dst, err := inflate(dst, payload, at+limit)
	if err == nil && op == ws.OpText && !utf8.Valid(dst[at:]) {
		err = ErrInflatedText
	}
	return dst, err
}

// inflate appends the message to dst, which must not grow beyond end.
func inflate(dst, payload []byte, end int) ([]byte, error) {
	if len(payload) == 0 {
		// An empty message has one byte (section 7.2.3.6); zlib inflates none
		// to the same.
		return dst, nil
	}
	i := inflaters.Get().(*inflater)
	defer i.release()
	i.input = append(append(append(i.input[:0], payload...), deflateTail...), finalBlock...)
	i.source.Reset(i.input)
	for {
		// It reads nothing, and so cannot fail.
		_ = i.reader.(stdflate.Resetter).Reset(&i.source, nil)
		var err error
		if dst, err = inflateBlocks(i.reader, dst, end); err != nil {
			return dst, err
		}
		// A last block of the sender's own may stand anywhere; what is behind it
		// is deflated anew (section 7.2.3.4).
		switch i.source.Len() {
		case 0, len(deflateTail) + len(finalBlock):
			return dst, nil
		}
	}
}

// inflateBlocks appends what r has up to a last block; dst must not grow beyond
// end.
func inflateBlocks(r io.Reader, dst []byte, end int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(max(512, len(dst)), end+1-len(dst)))
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), end+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > end:
			return dst, ErrInflatedSize
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, ErrInflate
		}
	}
}

func (i *inflater) release() {
	i.source.Reset(nil)
	if cap(i.input) > maxPooled {
		i.input = nil
	}
	inflaters.Put(i)
}
