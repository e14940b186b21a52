package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzValidJSON holds validJSON against Go's own.
func FuzzValidJSON(f *testing.F) {
	for _, s := range []string{
		``, `{"a":1}`, "\"\x01\"", `01`, `-`, `-0`, `1e`, `1e+5`, `1.`, `"\u12"`, `"\ud800"`, `"\q"`, `nul`, `true `,
		" [1, 2]\n", `{}x`, "\"\xff\"", `[1,]`, `{"a":}`, `{"a" 1}`, `{1:2}`, `1 2`, `"`, `[`, `{`, "\xef\xbb\xbf1",
		strings.Repeat("[", 500) + strings.Repeat("]", 500),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, want := validJSON(data), json.Valid(data); got != want {
			t.Errorf("%q: valid %v, want %v", data, got, want)
		}
	})
}

// TestDeeplyNestedJSON: a message that would need a stack in proportion to its
// size is no reason to grow one.
func TestDeeplyNestedJSON(t *testing.T) {
	deep := []byte(strings.Repeat("[", shortJSON) + strings.Repeat("]", shortJSON))
	if validJSON(deep) {
		t.Error("valid beyond the nesting that Go's own allows")
	}
}

func BenchmarkValidJSON(b *testing.B) {
	for name, data := range map[string]string{
		"object": `{"id":12345,"time":1764000000000,"text":"` + strings.Repeat("x", 70) + `","n":[1,2,3]}`,
		"string": `"` + strings.Repeat("x", 126) + `"`,
	} {
		for _, check := range []struct {
			name  string
			valid func([]byte) bool
		}{{"kept", validJSON}, {"encoding/json", json.Valid}} {
			b.Run(name+"/"+check.name, func(b *testing.B) {
				message := []byte(data)
				for b.Loop() {
					if !check.valid(message) {
						b.Fatal("not valid")
					}
				}
			})
		}
	}
}
