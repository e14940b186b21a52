package variant

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		spec string
		want Variant
	}{
		{"big=SEND_QUEUE=16", Variant{Name: "big", Env: []string{"SEND_QUEUE=16"}}},
		{"o=MODE=optimized,ALLOWED_ORIGINS=https://a.com,https://b.com,LOOPS=2",
			Variant{Name: "o", Env: []string{"MODE=optimized", "ALLOWED_ORIGINS=https://a.com,https://b.com", "LOOPS=2"}}},
		{"empty=API_KEY=", Variant{Name: "empty", Env: []string{"API_KEY="}}},
		{"mine=ws://127.0.0.1:8080,pid=7,redis=redis://h:1,prefix=p:",
			Variant{Name: "mine", External: &External{Addr: "127.0.0.1:8080", Protocol: "centrifuge", PID: 7, Redis: "redis://h:1", Prefix: "p:"}}},
		{"centrifugo=ws://[::1]:8000/connection/websocket?a=b,pid=7,api=http://h:1/api/publish,key=k,internal=http://h:2/,protocol=raw",
			Variant{Name: "centrifugo", External: &External{
				Addr: "[::1]:8000", Path: "/connection/websocket?a=b", Protocol: "raw", PID: 7,
				API: "http://h:1/api/publish", Key: "k", Internal: "http://h:2",
			}}},
	} {
		got, err := Parse(c.spec)
		c.want.Custom = true
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %+v, %v", c.spec, got, got.External, err)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for spec, want := range map[string]string{
		"name":                         "write NAME=KEY=VALUE",
		"name=":                        "write NAME=KEY=VALUE",
		"a/b=MODE=x":                   "invalid name",
		"a=mode=x":                     `"mode=x" is not KEY=VALUE`,
		"a=ADDR=:80":                   "ADDR is set by compare",
		"a=MODE=x,REDIS_URL=redis://h": "REDIS_URL is set by compare",
		"a=wss://h:1,pid=1":            "only ws:// can be measured",
		"a=ws://h,pid=1":               "has no port",
		"a=ws://h:1,redis=redis://h":   "pid=N is missing",
		"a=ws://h:1,pid=x":             "is not a process id",
		"a=ws://h:1,pid=-1":            "is not a process id",
		"a=ws://h:1,pid=1":             "give either redis=",
		"a=ws://h:1,pid=1,redis=redis://h,api=http://h": "give either redis=",
		"a=ws://h:1,pid=1,redis=http://h":               "write redis://host:port",
		"a=ws://h:1,pid=1,api=h:80":                     "write http://host:port",
		"a=ws://h:1,speed=1":                            "takes pid, redis",
		"a=ws://h:1,pid=1,redis=redis://h,protocol=q":   "unknown protocol",
	} {
		_, err := Parse(spec)
		if !errors.Is(err, ErrVariant) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		only  string
		specs []string
		want  string // names, or a part of the error
	}{
		{"", nil, "idiomatic idiomatic-tuned optimized"},
		{"optimized, idiomatic", nil, "optimized idiomatic"},
		{"", []string{"a=MODE=x"}, "idiomatic idiomatic-tuned optimized a"},
		{"none", []string{"a=MODE=x", "b=MODE=y"}, "a b"},
		{"none", nil, "there is nothing to measure"},
		{"fast", nil, `"fast" is unknown: use idiomatic, idiomatic-tuned, optimized`},
		{"optimized", []string{"optimized=MODE=x"}, `"optimized" is named twice`},
		{"", []string{"a"}, "write NAME="},
	} {
		variants, err := Choose(c.only, c.specs)
		if err != nil {
			if !errors.Is(err, ErrVariant) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q %q: %v, want %q", c.only, c.specs, err, c.want)
			}
			continue
		}
		var got []string
		for _, a := range variants {
			got = append(got, a.Name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q %q: %q, want %q", c.only, c.specs, got, c.want)
		}
	}
}
