package server

import (
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/server/config"
)

// badConfigurations are what a user may get wrong, and what the one line about
// it must say.
var badConfigurations = []struct {
	environ []string
	want    []string
}{
	{[]string{"MODE=fast"}, []string{`MODE="fast"`, "optimized or idiomatic"}},
	{[]string{"MODE=Optimized"}, []string{`MODE="Optimized"`, "optimized or idiomatic"}},
	{[]string{"TRUSTED_PROXIES=10.0.0.0/8,proxy.example"}, []string{"TRUSTED_PROXIES", `"proxy.example"`, "10.0.0.0/8"}},
	{[]string{"FORWARDED_HEADER=X-Real-IP"}, []string{`FORWARDED_HEADER="X-Real-IP"`, "X-Forwarded-For or Forwarded"}},
	{[]string{"ADDR=8080"}, []string{`ADDR="8080"`, "host:port"}},
	{[]string{"ADDR=:99999"}, []string{`ADDR=":99999"`, `"99999" is not a port`}},
	{[]string{"INTERNAL_ADDR=localhost"}, []string{"INTERNAL_ADDR", "host:port"}},
	{[]string{"EMBEDDED_REDIS_ADDR=x"}, []string{"EMBEDDED_REDIS_ADDR", "host:port"}},
	{[]string{"REDIS_URL=localhost:6379"}, []string{"REDIS_URL", "redis://"}},
	{[]string{"REDIS_URL=http://example.com"}, []string{"REDIS_URL", `"http"`, "redis://"}},
	{[]string{"REDIS_URL=redis://"}, []string{"REDIS_URL", "no host"}},
	{[]string{"REDIS_URL=redis://h:99999"}, []string{"REDIS_URL", "99999 is not a port"}},
	{[]string{"REDIS_URL=redis://a:6379,b:6379"}, []string{"REDIS_URL", "several hosts"}},
	{[]string{"MEMORY_LIMIT=lots"}, []string{`MEMORY_LIMIT="lots"`, "512MiB"}},
	{[]string{"TOKEN_SECERT=x"}, []string{"TOKEN_SECERT", "TOKEN_SECRET"}},
	{[]string{"ALLOWED_ORIGINS=https://a.example.com/app"}, []string{"ALLOWED_ORIGINS", `"https://a.example.com/app"`}},
	{[]string{"REDIS_URL=redis://h:6379/ten"}, []string{"REDIS_URL", "database"}},
	{[]string{"REDIS_CONNECTIONS=0"}, []string{"REDIS_CONNECTIONS=0", "1 to 1024"}},
	{[]string{"ALLOWED_ORIGINS=https://a.example.com,[x"}, []string{"ALLOWED_ORIGINS", `"[x"`}},
	{[]string{"CLIENT_PUBLISH=yes"}, []string{`CLIENT_PUBLISH="yes"`, "true", "false"}},
	{[]string{"COMPRESSION=on"}, []string{`COMPRESSION="on"`, "true", "false"}},
	{[]string{"MAX_MESSAGE_SIZE=64k"}, []string{`MAX_MESSAGE_SIZE="64k"`, "whole number"}},
	{[]string{"MAX_MESSAGE_SIZE=-1"}, []string{"MAX_MESSAGE_SIZE=-1", "128"}},
	{[]string{"MAX_MESSAGE_SIZE=99999999999999999999"}, []string{"MAX_MESSAGE_SIZE"}},
	{[]string{"MAX_CONNECTIONS=-5"}, []string{"MAX_CONNECTIONS=-5"}},
	{[]string{"PING_INTERVAL=25"}, []string{`PING_INTERVAL="25"`, "25s"}},
	{[]string{"PING_INTERVAL=10ms"}, []string{"PING_INTERVAL=10ms", "0, or"}},
	{[]string{"PONG_TIMEOUT=25s"}, []string{"PONG_TIMEOUT=25s", "PING_INTERVAL"}},
	{[]string{"DRAIN_TIME=-1s"}, []string{"DRAIN_TIME=-1s"}},
	{[]string{"WORKERS=0"}, []string{"WORKERS=0"}},
	{[]string{"LOG_LEVEL=loud"}, []string{`LOG_LEVEL="loud"`, "debug"}},
	{[]string{"LOG_FORMAT=xml"}, []string{`LOG_FORMAT="xml"`, "text or json"}},
}

func TestConfigRefuses(t *testing.T) {
	for _, test := range badConfigurations {
		t.Run(strings.Join(test.environ, " "), func(t *testing.T) {
			var stderr strings.Builder
			// What the bus alone can tell is refused before anything is served.
			environ := append([]string{"ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0"}, test.environ...)
			if code := program(nil, environ, &strings.Builder{}, &stderr); code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			line := strings.TrimSuffix(stderr.String(), "\n")
			if strings.Contains(line, "\n") || !strings.HasPrefix(line, "tandem: configuration: ") {
				t.Errorf("not one line about the configuration: %q", line)
			}
			for _, want := range test.want {
				if !strings.Contains(line, want) {
					t.Errorf("%q does not say %q", line, want)
				}
			}
		})
	}
}

func TestConfigHidesPassword(t *testing.T) {
	for _, url := range []string{"http://u:hunter2@h", "redis://u:hunter2@h:x:y", "redis://u:hunter2@h/ten", "redis://u:hunter2@h?db=ten"} {
		var stderr strings.Builder
		program(nil, []string{"ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "REDIS_URL=" + url}, &strings.Builder{}, &stderr)
		if stderr.Len() == 0 || strings.Contains(stderr.String(), "hunter2") {
			t.Errorf("REDIS_URL=%s: %q", url, stderr.String())
		}
	}
}

func TestHelpListsEverything(t *testing.T) {
	var b strings.Builder
	if err := printHelp(&b); err != nil {
		t.Fatal(err)
	}
	for _, v := range config.Variables() {
		if !strings.Contains(b.String(), "\n"+v.Name+" ") || !strings.Contains(b.String(), v.Meaning) {
			t.Errorf("-help does not explain %s", v.Name)
		}
	}
}
