package handshake

import "bytes"

// Preface tells what is not HTTP by its first bytes, so that it need not be waited
// for until it has sent a line: a TLS ClientHello, a PROXY header, the commands of
// other protocols. The zero value has seen nothing.
type Preface struct {
	method int8 // bytes of the method so far; -1: it is complete
}

// maxMethod is longer than any method that is registered.
const maxMethod = 32

// Foreign takes what a connection has sent next and reports whether it cannot be
// the beginning of a request: a method, which is a token (RFC 9110 section 9.1), and a
// space.
func (p *Preface) Foreign(data []byte) bool {
	for _, b := range data {
		switch {
		case p.method < 0:
			return false
		case b == ' ' && p.method > 0:
			p.method = -1
		case tokenBytes[b] && p.method < maxMethod:
			p.method++
		default:
			return true
		}
	}
	return false
}

// tokenBytes has the bytes of a token (RFC 9110 section 5.6.2).
var tokenBytes = func() (table [256]bool) {
	for _, b := range "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		table[b] = true
	}
	return table
}()

// Malformed reports whether a line of a request, without its end, is one that
// net/http refuses as soon as it has come: a first line without a version, another
// without a colon.
func Malformed(line []byte, first bool) bool {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if first {
		return requestLine(line)
	}
	return len(line) > 0 && bytes.IndexByte(line, ':') < 0
}

// requestLine reports whether a request line is not one of HTTP/1.
func requestLine(line []byte) (malformed bool) {
	spaces := 0
	for i, b := range line {
		if b == ' ' {
			if spaces++; spaces == 2 {
				version := line[i+1:]
				return len(version) != len("HTTP/1.1") || string(version[:len("HTTP/")]) != "HTTP/"
			}
		}
	}
	return true
}
