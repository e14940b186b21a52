//go:build linux

package optimized

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// ids makes client ids that say where the connection is, so that none has to be
// kept: loop, index and generation, encrypted with the process's own key, so
// that nobody can tell or guess them. Its methods may be called concurrently.
type ids struct {
	block cipher.Block
	mark  uint32
}

func newIDs() *ids {
	var key [20]byte
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(key[:])
	// aes.NewCipher fails on a key of another length only.
	block, _ := aes.NewCipher(key[:16])
	return &ids{block: block, mark: binary.LittleEndian.Uint32(key[16:])}
}

// seal returns the id of a connection. room is overwritten.
func (s *ids) seal(room *session.ID, loop int, h handle) string {
	id := room
	binary.LittleEndian.PutUint32(id[0:], uint32(loop))
	binary.LittleEndian.PutUint32(id[4:], h.index)
	binary.LittleEndian.PutUint32(id[8:], h.generation)
	binary.LittleEndian.PutUint32(id[12:], s.mark)
	s.block.Encrypt(id[:], id[:])
	return id.String()
}

// open returns what seal was given; false: the id is none of this process.
func (s *ids) open(client string) (loop int, h handle, ok bool) {
	id, ok := session.ParseID(client)
	if !ok {
		return 0, h, false
	}
	s.block.Decrypt(id[:], id[:])
	h = handle{binary.LittleEndian.Uint32(id[4:]), binary.LittleEndian.Uint32(id[8:])}
	return int(binary.LittleEndian.Uint32(id[0:])), h, binary.LittleEndian.Uint32(id[12:]) == s.mark
}
