package redisbus

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
)

// TestReceiveLongMessages: messages of all sizes around that of the buffer come
// through whole, and what one of them needed is not kept.
func TestReceiveLongMessages(t *testing.T) {
	ours, theirs := net.Pipe()
	s := &conn{Conn: ours}
	sizes := []int{0, 1, streamBuffer - 40, streamBuffer - 39, streamBuffer, 5*streamBuffer + 3, 1 << 20, 7, 100}
	go func() {
		for i, size := range sizes {
			channel := fmt.Sprint("c", i)
			message := fmt.Sprintf("*%s$%d\r\n%s\r\n$%d\r\n%s\r\n", messageStart, len(channel), channel, size, strings.Repeat("x", size))
			if _, err := io.WriteString(theirs, message); err != nil {
				t.Error(err)
			}
		}
		_ = theirs.Close()
	}()
	got, rests, handled := 0, 0, false
	err := s.receive(func(r reply) error {
		if string(r.channel) != fmt.Sprint("c", got) || len(r.payload) != sizes[got] || strings.Trim(string(r.payload), "x") != "" {
			t.Errorf("message %d: %q, %d bytes", got, r.channel, len(r.payload))
		}
		got++
		handled = true
		return nil
	}, func() {
		rests++
		handled = false
	})
	if got != len(sizes) || handled || rests < len(sizes) {
		t.Errorf("%d of %d messages, %d rests, the last message before a rest: %v", got, len(sizes), rests, !handled)
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("%v, want EOF", err)
	}
}

// pieces is a connection whose reads return as much as they like.
type pieces struct {
	net.Conn
	data string
	rnd  *rand.Rand
	most int
}

func (p *pieces) Read(buffer []byte) (int, error) {
	if p.data == "" {
		return 0, io.EOF
	}
	n := copy(buffer, p.data[:min(len(p.data), 1+p.rnd.IntN(p.most))])
	p.data = p.data[n:]
	return n, nil
}

// TestReceiveInPieces: messages of all sizes come through in order, whatever the
// pieces that the connection has them in.
func TestReceiveInPieces(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		longest := []int{150, 3000, 3 * streamBuffer}[seed%3]
		var sent []string
		var data strings.Builder
		for data.Len() < 10*streamBuffer {
			sent = append(sent, fmt.Sprint(len(sent), strings.Repeat("x", rnd.IntN(longest))))
			last := sent[len(sent)-1]
			fmt.Fprintf(&data, ">%s$4\r\nnews\r\n$%d\r\n%s\r\n", messageStart, len(last), last)
		}
		most := []int{50, 5000, 2 * streamBuffer}[seed/3%3]
		s := &conn{Conn: &pieces{data: data.String(), rnd: rnd, most: most}}
		var got []string
		err := s.receive(func(r reply) error {
			got = append(got, string(r.payload))
			return nil
		}, func() {})
		if !slices.Equal(got, sent) || !errors.Is(err, io.EOF) {
			t.Fatalf("seed %d: %d of %d messages, %v", seed, len(got), len(sent), err)
		}
	}
}

func TestAppendCommand(t *testing.T) {
	got := appendCommand([]byte("x"), "SUBSCRIBE", "", "a\r\nb")
	if want := "x*3\r\n$9\r\nSUBSCRIBE\r\n$0\r\n\r\n$4\r\na\r\nb\r\n"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}
