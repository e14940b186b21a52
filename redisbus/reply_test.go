package redisbus

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// said is a reply that may be kept.
type said struct {
	kind             replyKind
	channel, payload string
}

// replies parses all of what Redis said, which comes in pieces that end at the
// cuts.
func replies(t testing.TB, input string, cuts ...int) (all []said, err error) {
	t.Helper()
	pending := ""
	from := 0
	for _, cut := range append(cuts, len(input)) {
		pending += input[from:cut]
		from = cut
		for {
			r, length, err := parseReply([]byte(pending))
			if err != nil || length == 0 {
				if length != 0 || err != nil && !errors.Is(err, errProtocol) {
					t.Errorf("%q: %d, %v", pending, length, err)
				}
				if err != nil {
					return all, err
				}
				break
			}
			all = append(all, said{r.kind, string(r.channel), string(r.payload)})
			pending = pending[length:]
		}
	}
	if pending != "" {
		err = errors.New("unfinished")
	}
	return all, err
}

const conversation = "+PONG\r\n" +
	"$6\r\ntandem\r\n" +
	"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n" +
	"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\na\r\nb\x00\r\n" +
	"*3\r\n$7\r\nmessage\r\n$0\r\n\r\n$0\r\n\r\n" +
	"*2\r\n$4\r\npong\r\n$2\r\n17\r\n" +
	"*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n" +
	"-NOPERM no, you may not\r\n"

// TestParseReply: whatever the pieces that the conversation comes in, it says the
// same.
func TestParseReply(t *testing.T) {
	want := []said{
		{pongReply, "", "PONG"},
		{pongReply, "", "tandem"},
		{subscribeReply, "news", ""},
		{messageReply, "news", "a\r\nb\x00"},
		{messageReply, "", ""},
		{pongReply, "", "17"},
		{unsubscribeReply, "news", ""},
		{errorReply, "", "NOPERM no, you may not"},
	}
	for cut := range len(conversation) {
		got, err := replies(t, conversation, cut)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("cut at %d: %v, %v\nwant %v", cut, got, err, want)
		}
	}
}

func TestParseNoReply(t *testing.T) {
	for _, input := range []string{
		"\n", "\r\n", "+\n", "x", ":1\r\n", "*3\r\n:1\r\n", "*-1\r\n", "$-1\r\n", "$\r\n", "$1x\r\n", "$1\rx", "$1\r\nxy",
		"$1\r\nx\rz", "*3\r\n$7\r\nmessage\r\n*", "*3\r\n$8\r\npmessage\r\n$1\r\nx\r\n$1\r\ny\r\n", "*2\r\n$7\r\nmessage\r\n$1\r\nx\r\n",
		"*4\r\n$4\r\npong\r\n", "$1073741825\r\n", "$99999999999999999999\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n$1\r\n1\r\n",
	} {
		if got, err := replies(t, input); !errors.Is(err, errProtocol) {
			t.Errorf("%q: %v, %v, want errProtocol", input, got, err)
		}
	}
}

// FuzzParseReply: what is parsed is what was cut into, and nothing makes the
// parser read beyond what there is.
func FuzzParseReply(f *testing.F) {
	for _, line := range strings.SplitAfter(conversation, "\r\n") {
		f.Add(conversation, len(line), 2*len(line))
	}
	f.Add("*3\r\n$7\r\nmessage\r\n$1073741824\r\n", 3, 5)
	f.Fuzz(func(t *testing.T, input string, a, b int) {
		whole, wholeErr := replies(t, input)
		cuts := []int{min(max(a, 0), len(input)), min(max(b, 0), len(input))}
		slices.Sort(cuts)
		pieces, err := replies(t, input, cuts...)
		if !reflect.DeepEqual(whole, pieces) || (err == nil) != (wholeErr == nil) {
			t.Errorf("%q: %v, %v; in pieces %v, %v", input, whole, wholeErr, pieces, err)
		}
	})
}

func BenchmarkParseReply(b *testing.B) {
	message := []byte(">" + messageStart + "$12\r\nchannel-1234\r\n$128\r\n" + strings.Repeat("x", 128) + "\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, length, err := parseReply(message); length != len(message) || err != nil {
			b.Fatal(length, err)
		}
	}
}
