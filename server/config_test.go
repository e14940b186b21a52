package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestLoadConfigDefaults(t *testing.T) {
	for goos, mode := range map[string]string{"linux": modeOptimized, "darwin": modeIdiomatic, "windows": modeIdiomatic} {
		c, err := loadConfig(nil, goos)
		if err != nil {
			t.Fatalf("%s: %v", goos, err)
		}
		if c.Mode != mode {
			t.Errorf("%s: mode %q, want %q", goos, c.Mode, mode)
		}
		if c.Addr != ":8080" || c.InternalAddr != "127.0.0.1:9000" || c.PingInterval != 25*time.Second ||
			c.MaxMessageSize != 64<<10 || c.MaxChannels != 128 || c.MaxQueuedBytes != 1<<20 || c.ClientPublish {
			t.Errorf("%s: not the documented defaults: %+v", goos, c)
		}
	}
}

func TestLoadConfigValues(t *testing.T) {
	c, err := loadConfig([]string{
		"MODE=idiomatic", "ADDR=[::1]:0", "REDIS_URL=rediss://u:p@redis.example.com:6380/2", "REDIS_PREFIX=app:",
		"ALLOWED_ORIGINS=https://*.example.com,https://example.org", "CLIENT_PUBLISH=true", "PING_INTERVAL=0",
		"DRAIN_TIME=1m30s", "WRITE_BUFFER_POOL=1", "LOG_LEVEL=debug", "LOG_FORMAT=json", "MAX_CHANNELS=",
	}, "linux")
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != modeIdiomatic || c.Addr != "[::1]:0" || c.RedisPrefix != "app:" || !c.ClientPublish ||
		c.PingInterval != 0 || c.DrainTime != 90*time.Second || !c.WriteBufferPool ||
		c.LogLevel != slog.LevelDebug || c.LogFormat != "json" ||
		!slices.Equal(c.AllowedOrigins, []string{"https://*.example.com", "https://example.org"}) {
		t.Errorf("not what was set: %+v", c)
	}
	if c.MaxChannels != 128 {
		t.Errorf("an empty MAX_CHANNELS gives %d, want the default", c.MaxChannels)
	}
}

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
	{[]string{"ADDR=:99999"}, []string{`ADDR=":99999"`, `"99999" is no port`}},
	{[]string{"INTERNAL_ADDR=localhost"}, []string{"INTERNAL_ADDR", "host:port"}},
	{[]string{"EMBEDDED_REDIS_ADDR=x"}, []string{"EMBEDDED_REDIS_ADDR", "host:port"}},
	{[]string{"REDIS_URL=localhost:6379"}, []string{"REDIS_URL", "redis://"}},
	{[]string{"REDIS_URL=http://example.com"}, []string{"REDIS_URL", `"http"`, "redis://"}},
	{[]string{"REDIS_URL=redis://"}, []string{"REDIS_URL", "no host"}},
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

func TestLoadConfigRefuses(t *testing.T) {
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

func TestLoadConfigNamesEveryBadVariable(t *testing.T) {
	_, err := loadConfig([]string{"MODE=x", "WORKERS=0", "LOG_FORMAT=x"}, "linux")
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want one for each variable: %q", len(lines), lines)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "tandem: configuration: ") {
			t.Errorf("%q cannot be read alone", line)
		}
	}
}

func TestOptimizedNeedsLinux(t *testing.T) {
	_, err := loadConfig([]string{"MODE=optimized"}, "darwin")
	if err == nil || !strings.Contains(err.Error(), "MODE=optimized: needs Linux") || !strings.Contains(err.Error(), "MODE=idiomatic") {
		t.Errorf("got %v", err)
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

// TestConfigTags shows that every tag can be read and that every default obeys
// its own bounds.
func TestConfigTags(t *testing.T) {
	config := reflect.TypeFor[config]()
	seen := make(map[string]bool)
	for i := range config.NumField() {
		field := config.Field(i)
		name, desc := field.Tag.Get("env"), field.Tag.Get("desc")
		if name == "" || seen[name] || desc == "" || strings.ContainsAny(desc, "|\n") {
			t.Errorf("%s: env %q or desc %q: missing, twice or not for a table", field.Name, name, desc)
		}
		seen[name] = true
		lowest, highest := field.Tag.Get("min"), field.Tag.Get("max")
		if (lowest == "") != (highest == "") {
			t.Errorf("%s: only one bound", name)
		}
		for _, s := range []string{lowest, highest} {
			if s == "" {
				continue
			}
			var err error
			if field.Type == reflect.TypeFor[time.Duration]() {
				_, err = time.ParseDuration(s)
			} else {
				_, err = strconv.Atoi(s)
			}
			if err != nil {
				t.Errorf("%s: bound %q: %v", name, s, err)
			}
		}
	}
}

func TestHelpListsEverything(t *testing.T) {
	var b strings.Builder
	if err := printHelp(&b); err != nil {
		t.Fatal(err)
	}
	for _, v := range variables() {
		if !strings.Contains(b.String(), "\n"+v.name+" ") || !strings.Contains(b.String(), v.meaning) {
			t.Errorf("-help does not explain %s", v.name)
		}
	}
}

// TestReadmeTable keeps the README's table what -help prints.
func TestReadmeTable(t *testing.T) {
	const path, begin, end = "../README.md", "<!-- variables -->\n", "<!-- end of variables -->"
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(file), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", path, begin, end)
	}
	if want := markdownTable(); got == want {
		return
	}
	if !*update {
		t.Fatalf("%s: the table is not what the configuration is: run make readme", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+markdownTable()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTokenVerifier(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
	const set = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"}]}`
	for name, c := range map[string]struct {
		config config
		some   bool
		want   string // in the error
	}{
		"nothing":       {config{}, false, ""},
		"secret":        {config{TokenSecret: "s"}, true, ""},
		"key":           {config{TokenPublicKey: key}, true, ""},
		"key, one line": {config{TokenPublicKey: strings.ReplaceAll(key, "\n", `\n`)}, true, ""},
		"key file":      {config{TokenPublicKeyFile: write(key)}, true, ""},
		"set":           {config{TokenJWKSFile: write(set)}, true, ""},
		"no key":        {config{TokenPublicKey: "key"}, false, "TOKEN_PUBLIC_KEY"},
		"no file":       {config{TokenPublicKeyFile: "/nowhere"}, false, `TOKEN_PUBLIC_KEY_FILE="/nowhere"`},
		"empty file":    {config{TokenJWKSFile: write("")}, false, "TOKEN_JWKS_FILE"},
		"no set":        {config{TokenJWKSFile: write("{}")}, false, "TOKEN_JWKS_FILE"},
	} {
		v, err := c.config.tokenVerifier()
		if (v != nil) != c.some || (err != nil) != (c.want != "") {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		if err != nil && (!errors.Is(err, errConfig) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want a line about %s", name, err, c.want)
		}
	}
}
