package idiomatic

import "unicode/utf8"

// validUTF8 checks the next bytes of a text. It returns how many of them are
// whole runes: the rest, at most three bytes, may be the start of one. At the
// end of the text nothing may be left. False: whatever follows, the text is no
// UTF-8.
func validUTF8(p []byte, end bool) (int, bool) {
	if utf8.Valid(p) {
		return len(p), true
	}
	if end {
		return 0, false
	}
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		tail := p[len(p)-n:]
		if utf8.RuneStart(tail[0]) {
			whole := len(p) - n
			return whole, !utf8.FullRune(tail) && utf8.Valid(p[:whole])
		}
	}
	return 0, false
}
