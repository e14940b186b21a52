package config

import (
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write generated tables instead of comparing them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoadConfigDefaults(t *testing.T) {
	for goos, mode := range map[string]string{"linux": Optimized, "darwin": Idiomatic, "windows": Idiomatic} {
		c, err := Load(nil, goos)
		if err != nil {
			t.Fatalf("%s: %v", goos, err)
		}
		if c.Mode != mode {
			t.Errorf("%s: mode %q, want %q", goos, c.Mode, mode)
		}
		if c.Addr != ":8080" || c.InternalAddr != "127.0.0.1:9000" || c.PingInterval != 25*time.Second ||
			c.MaxMessageSize != 256<<10 || c.MaxChannels != 128 || c.MaxQueuedBytes != 1<<20 || c.ClientPublish {
			t.Errorf("%s: not the documented defaults: %+v", goos, c)
		}
	}
}

func TestLoadConfigValues(t *testing.T) {
	c, err := Load([]string{
		"MODE=idiomatic", "ADDR=[::1]:0", "REDIS_URL=rediss://u:p@redis.example.com:6380/2", "REDIS_PREFIX=app:",
		"ALLOWED_ORIGINS=https://*.example.com,https://example.org", "CLIENT_PUBLISH=true", "PING_INTERVAL=0",
		"DRAIN_TIME=1m30s", "WRITE_BUFFER_POOL=1", "LOG_LEVEL=debug", "LOG_FORMAT=json", "MAX_CHANNELS=",
	}, "linux")
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != Idiomatic || c.Addr != "[::1]:0" || c.RedisPrefix != "app:" || !c.ClientPublish ||
		c.PingInterval != 0 || c.DrainTime != 90*time.Second || !c.WriteBufferPool ||
		c.LogLevel != slog.LevelDebug || c.LogFormat != "json" ||
		!slices.Equal(c.AllowedOrigins, List{"https://*.example.com", "https://example.org"}) {
		t.Errorf("not what was set: %+v", c)
	}
	if c.MaxChannels != 128 {
		t.Errorf("an empty MAX_CHANNELS gives %d, want the default", c.MaxChannels)
	}
}

func TestLoadConfigNamesEveryBadVariable(t *testing.T) {
	_, err := Load([]string{"MODE=x", "WORKERS=0", "LOG_FORMAT=x"}, "linux")
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
	_, err := Load([]string{"MODE=optimized"}, "darwin")
	if err == nil || !strings.Contains(err.Error(), "MODE=optimized: needs Linux") || !strings.Contains(err.Error(), "MODE=idiomatic") {
		t.Errorf("got %v", err)
	}
}

// TestConfigTags shows that every tag can be read and that every default obeys
// its own bounds.
func TestConfigTags(t *testing.T) {
	typ := reflect.TypeFor[Config]()
	seen := make(map[string]bool)
	for i := range typ.NumField() {
		field := typ.Field(i)
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

// TestVariablesTable keeps the table of docs/configuration.md what -help prints.
func TestVariablesTable(t *testing.T) {
	const path, begin, end = "../../docs/configuration.md", "<!-- variables -->\n", "<!-- end of variables -->"
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(file), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", path, begin, end)
	}
	if want := Markdown(); got == want {
		return
	}
	if !*update {
		t.Fatalf("%s: the table is not what the configuration is: run make variables", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+Markdown()+end+after), 0o644); err != nil {
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
		config Config
		some   bool
		want   string // in the error
	}{
		"nothing":       {Config{}, false, ""},
		"secret":        {Config{TokenSecret: "s"}, true, ""},
		"key":           {Config{TokenPublicKey: key}, true, ""},
		"key, one line": {Config{TokenPublicKey: strings.ReplaceAll(key, "\n", `\n`)}, true, ""},
		"key file":      {Config{TokenPublicKeyFile: write(key)}, true, ""},
		"set":           {Config{TokenJWKSFile: write(set)}, true, ""},
		"no key":        {Config{TokenPublicKey: "key"}, false, "TOKEN_PUBLIC_KEY"},
		"no file":       {Config{TokenPublicKeyFile: "/nowhere"}, false, `TOKEN_PUBLIC_KEY_FILE="/nowhere"`},
		"empty file":    {Config{TokenJWKSFile: write("")}, false, "TOKEN_JWKS_FILE"},
		"no set":        {Config{TokenJWKSFile: write("{}")}, false, "TOKEN_JWKS_FILE"},
	} {
		v, err := c.config.TokenVerifier()
		if (v != nil) != c.some || (err != nil) != (c.want != "") {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		if err != nil && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want a line about %s", name, err, c.want)
		}
	}
}
