package session

import (
	"crypto/rand"
	"encoding/hex"
)

// ID is a client id: 16 bytes, written in the form of a UUID.
type ID [16]byte

// NewID returns a random ID (RFC 9562 version 4).
func NewID() (id ID) {
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String returns the id in the 8-4-4-4-12 form.
func (id ID) String() string {
	var b [36]byte
	at := 0
	for _, part := range [...][]byte{id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]} {
		if at > 0 {
			b[at] = '-'
			at++
		}
		at += hex.Encode(b[at:], part)
	}
	return string(b[:])
}

// ParseID reads what String writes.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	digits := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	n, err := hex.Decode(id[:], []byte(digits))
	return id, err == nil && n == len(id)
}
