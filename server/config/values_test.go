package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestOrigins: what is written is matched by what browsers send, and by nothing else.
func TestOrigins(t *testing.T) {
	for _, test := range []struct {
		value, origin string
		want          bool
	}{
		{"https://example.com", "https://example.com", true},
		{"https://example.com", "http://example.com", false},
		{"HTTPS://Example.COM", "https://example.com", true},
		{"https://example.com/", "https://example.com", true},
		{"https://example.com:443", "https://example.com", true},
		{"http://example.com:80/", "http://example.com", true},
		{"https://example.com:8443", "https://example.com:8443", true},
		{"https://a.test, https://b.test", "https://b.test", true},
		{" https://a.test ,, ", "https://a.test", true},
		{"https://*.example.com", "https://a.example.com", true},
		{"https://*.example.com", "https://example.com", false},
		{"https://example.com:*", "https://example.com:3000", true},
		{"http://[::1]:3000", "http://[::1]:3000", true},
		{"http://[::1]:3000", "http://::3000", false},
		{"http://[0:0:0:0:0:0:0:1]", "http://[::1]", true},
		{"https://bücher.example", "https://xn--bcher-kva.example", true},
		{"https://*.BÜCHER.example", "https://www.xn--bcher-kva.example", true},
		{"example.com", "example.com", true}, // of the host alone
		{"example.com:443", "https://example.com", true},
		{"example.com:80", "https://example.com", false},
		{"[::1]:3000", "[::1]:3000", true},
		{"capacitor://localhost", "capacitor://localhost", true},
		{"chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop", true},
		{"https://[ab].example", "https://b.example", true},
	} {
		c, err := Load([]string{"ALLOWED_ORIGINS=" + test.value}, "linux")
		if err != nil {
			t.Errorf("%s: %v", test.value, err)
			continue
		}
		patterns, err := c.Origins()
		if err != nil {
			t.Errorf("%s: %v", test.value, err)
		}
		if got := slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, err := path.Match(pattern, test.origin)
			if err != nil {
				t.Errorf("%s: pattern %s: %v", test.value, pattern, err)
			}
			return ok
		}); got != test.want {
			t.Errorf("%s becomes %q, which matches %s: %t, want %t", test.value, patterns, test.origin, got, test.want)
		}
	}
}

// TestOriginsRefused: what no origin can match is refused, by its name.
func TestOriginsRefused(t *testing.T) {
	for _, value := range []string{
		"null", "NULL", "file://", "file:///index.html", "https://example.com/app", "https://example.com?x=1", "https://example.com#top",
		"https://user@example.com", "https://example.com:99999", "https://example.com:0", "https://example.com:", "https://",
		"https://a.test https://b.test", "https://a.test;https://b.test", `"https://a.test"`, "https://[::1", "http://::1:3000",
		"http://[::1%25eth0]", "http://[fe80::1]x", "://example.com", "ht tp://example.com", "https://[x", "https:/example.com",
		"https://bü\u200dcher.example",
	} {
		_, err := Load([]string{"ALLOWED_ORIGINS=https://good.test," + value}, "linux")
		if err == nil {
			t.Errorf("%s is taken", value)
		} else if text := err.Error(); !strings.Contains(text, "ALLOWED_ORIGINS") || !strings.Contains(text, fmt.Sprintf("%q", value)) || strings.Contains(text, "\n") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestProxies(t *testing.T) {
	c, err := Load([]string{"TRUSTED_PROXIES= 10.1.2.3/8 ,,::ffff:192.0.2.0/120, ::ffff:192.0.2.7,2001:db8::1 "}, "linux")
	if err != nil {
		t.Fatal(err)
	}
	networks, err := c.Proxies()
	if got := fmt.Sprint(networks); err != nil || got != "[10.0.0.0/8 192.0.2.0/24 192.0.2.7/32 2001:db8::1/128]" {
		t.Errorf("%s, %v", got, err)
	}
	for _, value := range []string{"fe80::1%eth0", "proxy.example", "10.0.0.0/33", "[::1]", "10.0.0.1:80"} {
		if _, err := Load([]string{"TRUSTED_PROXIES=" + value}, "linux"); err == nil || !strings.Contains(err.Error(), "TRUSTED_PROXIES") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"536870912": 512 << 20, "512MiB": 512 << 20, "512Mi": 512 << 20, "512 MiB": 512 << 20, "0.5GiB": 512 << 20,
		"512MB": 512e6, "512M": 512e6, "2g": 2e9, "1TiB": 1 << 40, "100000KB": 1e8, "20000000B": 2e7, "0": 0,
	} {
		c, err := Load([]string{"MEMORY_LIMIT=" + text}, "linux")
		if err != nil || c.MemoryLimit != want {
			t.Errorf("%s: %d, %v, want %d", text, c.MemoryLimit, err, want)
		}
		var again Size
		if err := again.UnmarshalText([]byte(c.MemoryLimit.String())); err != nil || again != want {
			t.Errorf("%s is written %v, and read as %d, %v", text, c.MemoryLimit, again, err)
		}
	}
	for _, text := range []string{"lots", "512XB", "MiB", "-1", "1e9", "512MiBs", "5 12", "512MBB", "99999999999999999999", "15MiB", "2TiB", "NaN", "1..5G"} {
		if _, err := Load([]string{"MEMORY_LIMIT=" + text}, "linux"); err == nil || !strings.Contains(err.Error(), "MEMORY_LIMIT") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestRedisURL: what cannot be used is refused at the start, and no part of what may be
// a password is quoted.
func TestRedisURL(t *testing.T) {
	for _, value := range []string{
		"redis://localhost", "redis://localhost:6379/2", "rediss://u:p%40ss@redis.example.com:6380", "redis://[::1]:6379", "redis://:p@h", "unix:///run/redis.sock", "redis://:6379",
		"unix://u:p@/run/redis.sock?db=1", "redis+sentinel://u:p@a:26379,b,[::1]:26379/1?master=mymaster", "rediss+sentinel://a?master=mymaster&sentinel_password=p",
	} {
		if _, err := Load([]string{"REDIS_URL=" + value}, "linux"); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	for _, value := range []string{
		"redis://h:99999", "redis://h:0", "redis://a:6379,b:6379", "redis://a,b", "redis://h:6379,", "localhost:6379", "redis:h", "redis://", "unix://",
		"redis://h:6379/ten", "redis://h:port", "http://h", "redis://a b", "hunter2", ":hunter2@h", "hunter2@h:6379", "hunter2:x@h",
		"redis://u:hunter2/x@h:6379", "redis://u:1/hunter2@h:6379", "redis://u:hunter2?x@h", "redis://u:1?hunter2@h", "redis://u:hunter2#x@h", "redis://u:1#hunter2@h",
		"redis://u:%zzhunter2@h", "redis://u:hunter2%@h", "redis://:hunter2", "redis://u:hunter2@h:99999", "redis://u:hunter2@h:x:y", "redis://u:hunter2@a,b",
		"redis://u:hunter2@h/ten", "redis://u:hunter2@h?db=ten", "http://u:hunter2@h", "redis://u:hunter2[@h", "redis://u:hunter2\x01@h", "redis:u:hunter2@h", "unix://u:hunter2@", "unix://u:1?hunter2@/x",
		"redis://u:hun ter2@h:6379 ", "redis://u:hunter2@", "redis:///u:hunter2@h",
		"redis+sentinel://u:hunter2@a,b", "redis+sentinel://u:1/hunter2@a?master=m", "redis+sentinel://u:%zzhunter2@a?master=m", "redis+sentinel://a:99999?master=m",
		"redis+sentinel://u:hunter2@a/ten?master=m", "redis+cluster://u:hunter2@a",
	} {
		_, err := Load([]string{"REDIS_URL=" + value}, "linux")
		switch {
		case err == nil:
			t.Errorf("%q is taken", value)
		case !strings.HasPrefix(err.Error(), "tandem: configuration: REDIS_URL: ") || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "ter2"):
			t.Errorf("%q: %v", value, err)
		}
	}
}

// TestUnknownVariables: what looks like a variable of ours is an error that names it and
// the right one, and never its value.
func TestUnknownVariables(t *testing.T) {
	for name, want := range map[string]string{
		"TOKEN_SECERT": "TOKEN_SECRET", "TOKEN_SECRETS": "TOKEN_SECRET", "MAX_CONNECTION": "MAX_CONNECTIONS", "MAX_CONN": "MAX_CONNECTIONS",
		"TOKENSECRET": "TOKEN_SECRET", "token_secret": "TOKEN_SECRET", "Redis_Url": "REDIS_URL", "REDIS_URI": "REDIS_URL", "REDIS_HOST": "REDIS_URL",
		"REDIS_PASSWORD": "REDIS_URL", "REDIS_PORT": "REDIS_URL", "ALOWED_ORIGINS": "ALLOWED_ORIGINS", "ALLOWED_ORIGIN": "ALLOWED_ORIGINS", "APIKEY": "API_KEY",
		"MDOE": "MODE", "mode": "MODE", "TLS_CERT": "TLS_CERT_FILE", "GOMEMLIMT": "GOMEMLIMIT", "TANDEM_REDIS_URL": "REDIS_URL", "TANDEM_MODE": "MODE",
		"TANDEM_TOKEN_SECERT": "TOKEN_SECRET", "LOG_LEVL": "LOG_LEVEL", "COMPRESION": "COMPRESSION", "CLIENT_PUBLSIH": "CLIENT_PUBLISH", "DRAINTIME": "DRAIN_TIME",
		"INTERNAL_ADRR": "INTERNAL_ADDR", "HEARTBEAT": "", "HEARTBEAT_TIME": "HEARTBEAT_TIMEOUT",
	} {
		_, err := Load([]string{name + "=hunter2"}, "linux")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case want == "":
		case err == nil:
			t.Errorf("%s is ignored", name)
		case !strings.HasPrefix(err.Error(), "tandem: configuration: "+name+": ") || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: %v, want a line about %s", name, err, want)
		}
		if _, err := Load([]string{name + "="}, "linux"); err != nil {
			t.Errorf("%s is empty, and counts: %v", name, err)
		}
	}
	if _, err := Load([]string{"TOKEN_SECERT=x", "WORKERS=0", "MAX_CONN=1"}, "linux"); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not a line for each of three bad variables: %v", err)
	}
	if _, err := Load([]string{"TOKEN_SECERT=x", "PING_INTERVAL=soon"}, "linux"); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("not a line for each of two bad variables: %v", err)
	}
}

// TestForeignVariables: what other programs set does not stop the server.
func TestForeignVariables(t *testing.T) {
	environ := []string{
		// A shell, systemd, Docker, CI.
		"HOME=/root", "PATH=/bin", "PWD=/", "OLDPWD=/", "SHLVL=1", "_=/usr/bin/env", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "TERM=xterm", "LANG=C.UTF-8",
		"LC_ALL=C", "TZ=UTC", "HOSTNAME=host", "EDITOR=vi", "PAGER=less", "LS_COLORS=x", "COLORTERM=truecolor", "MAIL=/var/mail/root", "TMPDIR=/tmp", "DISPLAY=:0",
		"XDG_RUNTIME_DIR=/run", "SSH_CLIENT=x", "SSH_CONNECTION=x", "SSH_TTY=x", "INVOCATION_ID=x", "JOURNAL_STREAM=8:1", "NOTIFY_SOCKET=/run/x", "LISTEN_FDS=1",
		"MAINPID=1", "SYSTEMD_EXEC_PID=1", "MEMORY_PRESSURE_WATCH=/x", "CI=true", "GITHUB_TOKEN=x", "DOCKER_HOST=unix:///x", "container=docker",
		"http_proxy=x", "HTTPS_PROXY=x", "NO_PROXY=x", "SSL_CERT_FILE=/x", "SSL_CERT_DIR=/x",
		// Go.
		"GOMAXPROCS=2", "GOGC=50", "GODEBUG=x", "GOTRACEBACK=all", "GORACE=exitcode=66", "GOROOT=/go", "GOPATH=/go", "GOFLAGS=-mod=mod", "GOCACHE=/x",
		// Other programs.
		"PORT=80", "HOST=x", "NODE=x", "NODE_ENV=production", "MODEL=x", "CODE=x", "APP_KEY=x", "API_URL=x", "API_TOKEN=x", "DEBUG=1", "LOG_DIR=/x", "LOG_FILE=/x",
		"DATABASE_URL=x", "SECRET_KEY=x", "ALLOWED_HOSTS=x", "RAILS_ENV=x", "WEB_CONCURRENCY=2", "MEMORY_REQUEST=x", "CPU_LIMIT=1", "POD_NAME=x", "POD_IP=10.0.0.1", "NODE_NAME=x",
		"CLIENT_ID=x", "CLIENT_SECRET=x", "LOOP=x", "TEST_MODE=x", "TANDEM_SERVER=/x", "TANDEM_VERSION=1", "NOFILE=1", "STOP_GRACE_PERIOD=30s", "INTERNAL_PORT=9000",
	}
	for _, service := range []string{"REDIS", "TANDEM", "TANDEM_INTERNAL", "REDIS_MASTER", "TOKEN", "MAX", "TLS", "KUBERNETES"} {
		environ = append(environ,
			service+"_SERVICE_HOST=10.0.0.1", service+"_SERVICE_PORT=6379", service+"_SERVICE_PORT_CLIENTS=80", service+"_PORT=tcp://10.0.0.1:6379",
			service+"_PORT_6379_TCP=tcp://10.0.0.1:6379", service+"_PORT_6379_TCP_PROTO=tcp", service+"_PORT_6379_TCP_PORT=6379", service+"_PORT_6379_TCP_ADDR=10.0.0.1",
			service+"_NAME=/web/redis", service+"_ENV_REDIS_VERSION=8")
	}
	if _, err := Load(environ, "linux"); err != nil {
		t.Error(err)
	}
}

// TestWhiteSpace: what surrounds a value is not taken for a part of it, nor ignored.
func TestWhiteSpace(t *testing.T) {
	for _, name := range []string{"TOKEN_SECRET", "API_KEY", "REDIS_PREFIX", "PRIVATE_PREFIX", "TOKEN_JWKS_FILE", "REDIS_URL", "ADDR", "MODE"} {
		for _, value := range []string{"redis://hunter2\n", " hunter2", "hunter2\t"} {
			_, err := Load([]string{name + "=" + value}, "linux")
			if err == nil || !strings.Contains(err.Error(), name) || name != "ADDR" && name != "MODE" && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s=%q: %v", name, value, err)
			}
		}
	}
	if _, err := Load([]string{"TOKEN_PUBLIC_KEY=-----BEGIN PUBLIC KEY-----\n"}, "linux"); err != nil {
		t.Error(err)
	}
}
