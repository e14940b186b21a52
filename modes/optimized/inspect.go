//go:build linux

package optimized

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/tandem-ws/tandem/modes/handshake"
)

// headEnd returns the length of a request's line and headers, with the blank line
// that ends them; -1: that has not come. A line may end in LF alone (RFC 9112
// section 2.2), as it may for net/http.
func headEnd(data []byte) int {
	end := bytes.Index(data, []byte("\n\r\n"))
	if end >= 0 {
		end += len("\n\r\n")
		data = data[:end]
	}
	if bare := bytes.Index(data, []byte("\n\n")); bare >= 0 {
		return bare + len("\n\n")
	}
	return end
}

// The headers that a handshake in its plainest form has once at most, and those
// that it does not have.
var (
	single  = [...]string{"Host", "Origin", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"}
	foreign = [...]string{"Expect", "Content-Length", "Transfer-Encoding"}
)

// looked has a bit for each length that these names have.
var looked = func() (lengths uint64) {
	for _, name := range slices.Concat(single[:], foreign[:]) {
		lengths |= 1 << len(name)
	}
	return lengths
}()

// inspect tells whether a request could be a handshake in its plainest form, of
// which nothing can be read in another way, and keeps its key and what extensions
// and subprotocols it offers. The
// Upgrader sees no other: it lets through what net/http refuses, such as a space behind a header's
// name, or two lengths, and what stands between a client and a server that disagree
// about a request can be made to smuggle one (RFC 9112 section 11.2).
func (h *handshaker) inspect(request []byte) bool {
	line, rest, _ := bytes.Cut(request, []byte("\r\n"))
	if !plainLine(line) {
		return false
	}
	seen := 0
	for len(rest) > len("\r\n") {
		var ok bool
		line, rest, ok = bytes.Cut(rest, []byte("\r\n"))
		name, value, colon := bytes.Cut(line, []byte{':'})
		if !ok || !colon || !plainName(name) || !plainValue(value) {
			return false
		}
		if h.engine.Compression && isName(name, "Sec-WebSocket-Extensions") {
			h.offerExtensions(value)
		} else if isName(name, "Sec-WebSocket-Protocol") {
			h.offered.Add(value)
		}
		if looked>>len(name)&1 == 0 {
			continue
		}
		for _, other := range foreign {
			if isName(name, other) {
				return false
			}
		}
		for i, once := range single {
			if !isName(name, once) {
				continue
			}
			if seen&(1<<i) != 0 {
				return false
			}
			seen |= 1 << i
			value = bytes.TrimLeft(value, " ")
			switch once {
			case "Upgrade", "Connection":
				if !plainList(value) {
					return false
				}
			case "Host":
				if !handshake.ValidHost(value) {
					return false
				}
			case "Sec-WebSocket-Key":
				if !handshake.ValidKey(value) {
					return false
				}
				h.key = append(h.key, value...)
			}
			break
		}
	}
	return true
}

// isName compares the name of a header, whose case does not matter.
func isName(name []byte, with string) bool {
	return len(name) == len(with) && bytes.EqualFold(name, []byte(with))
}

// plainLine tells whether a request line is that of a handshake and has a target
// that is a path.
func plainLine(line []byte) bool {
	target, get := bytes.CutPrefix(line, []byte("GET /"))
	target, version := bytes.CutSuffix(target, []byte(" HTTP/1.1"))
	if !get || !version {
		return false
	}
	for _, b := range target {
		if b <= ' ' || b == 0x7f {
			return false
		}
	}
	return true
}

// plainName tells whether a header's name is a token (RFC 9110 section 5.6.2) of
// the letters that names are made of.
func plainName(name []byte) bool {
	for _, b := range name {
		if !nameBytes[b] {
			return false
		}
	}
	return len(name) > 0
}

// plainList tells whether a header's value is a list of such tokens with a comma
// between them, and nothing else: the Upgrader overlooks what stands behind one, as
// in "upgrade;q=1".
func plainList(value []byte) bool {
	for more := true; more; {
		var part []byte
		part, value, more = bytes.Cut(value, []byte{','})
		if !plainName(bytes.Trim(part, " ")) {
			return false
		}
	}
	return true
}

var nameBytes = func() (table [256]bool) {
	for _, b := range "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		table[b] = true
	}
	return table
}()

// plainValue tells whether a header's value has no control character, and no space
// at its end.
func plainValue(value []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	if n := len(value); n > 0 && value[n-1] == ' ' {
		return false
	}
	// Eight at a time: most of a request is values, and every handshake is read.
	for len(value) >= 8 {
		x := binary.LittleEndian.Uint64(value)
		del := x ^ 0x7f*ones
		// The top bit of a byte that is below a space, or DEL.
		if ((x-' '*ones)&^x|(del-ones)&^del)&tops != 0 {
			return false
		}
		value = value[8:]
	}
	for _, b := range value {
		if b < ' ' || b == 0x7f {
			return false
		}
	}
	return true
}
