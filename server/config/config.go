// Package config reads what the environment sets.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// The values of MODE.
const (
	Idiomatic = "idiomatic"
	Optimized = "optimized"
)

// Config is everything that the environment sets. Only this struct describes
// variables: name, default, bounds and meaning are in the tags, and -help and
// docs/configuration.md print them.
//
// Package env reads the tags env and envDefault. outOfBounds enforces min and max
// (inclusive; with the tag zero, 0 is allowed below min) and oneof. In the table, shown
// replaces the default, and desc is the meaning.
type Config struct {
	Mode         string `env:"MODE" oneof:"optimized idiomatic" shown:"optimized on Linux, else idiomatic" desc:"which engine runs"`
	Addr         string `env:"ADDR" envDefault:":8080" desc:"address that clients connect to"`
	InternalAddr string `env:"INTERNAL_ADDR" envDefault:"127.0.0.1:9000" desc:"address of health, readiness, metrics, pprof and the server API"`

	TLSCertFile string `env:"TLS_CERT_FILE" desc:"file with the certificate chain (PEM); if it is set, ADDR speaks TLS. The file is read again when it changes, and on SIGHUP"`
	TLSKeyFile  string `env:"TLS_KEY_FILE" desc:"file with the private key (PEM) of TLS_CERT_FILE"`

	RedisURL          string        `env:"REDIS_URL" shown:"embedded" desc:"redis://, rediss://, unix:// or redis+sentinel:// URL, see docs/redis.md; empty starts an embedded Redis, for trying out only"`
	EmbeddedRedisAddr string        `env:"EMBEDDED_REDIS_ADDR" shown:"127.0.0.1:6379, or a free port" desc:"address of the embedded Redis; port 0 takes a free one"`
	RedisPrefix       string        `env:"REDIS_PREFIX" desc:"prefix of the names of channels in Redis"`
	RedisConnections  int           `env:"REDIS_CONNECTIONS" envDefault:"1" min:"1" max:"1024" desc:"Pub/Sub connections to Redis; channels are spread over them"`
	HeartbeatInterval time.Duration `env:"HEARTBEAT_INTERVAL" envDefault:"3s" min:"50ms" max:"10m" desc:"time between two heartbeats to Redis"`
	HeartbeatTimeout  time.Duration `env:"HEARTBEAT_TIMEOUT" envDefault:"3s" min:"50ms" max:"10m" desc:"silence after which a connection to Redis is closed and opened again"`
	ChannelLinger     time.Duration `env:"CHANNEL_LINGER" envDefault:"1s" min:"0s" max:"1h" desc:"how long the node stays subscribed in Redis to a channel that has no subscribers left"`

	APIKey         string `env:"API_KEY" desc:"key of the server API; empty switches the API off"`
	AllowedOrigins List   `env:"ALLOWED_ORIGINS" shown:"same host" desc:"allowed origins, separated by commas, with * as a wildcard, such as https://*.example.com; * allows all"`
	ClientPublish  bool   `env:"CLIENT_PUBLISH" envDefault:"false" desc:"lets clients publish"`
	Echo           bool   `env:"ECHO" envDefault:"false" desc:"opens /echo, which sends back what it receives"`
	Compression    bool   `env:"COMPRESSION" envDefault:"false" desc:"offers permessage-deflate to clients; a message is compressed once, whatever the number of its receivers"`

	TokenSecret        string        `env:"TOKEN_SECRET" desc:"secret that signs tokens (JWT) with HS256, HS384 or HS512; if this or one of the next three is set, clients need a token to connect"`
	TokenPublicKey     string        `env:"TOKEN_PUBLIC_KEY" desc:"one or more public keys that verify tokens: RSA, ECDSA or Ed25519, in PEM"`
	TokenPublicKeyFile string        `env:"TOKEN_PUBLIC_KEY_FILE" desc:"file with one or more public keys that verify tokens, in PEM"`
	TokenJWKSFile      string        `env:"TOKEN_JWKS_FILE" desc:"file with a JSON Web Key Set that verifies tokens, which select a key by kid"`
	PrivatePrefix      string        `env:"PRIVATE_PREFIX" envDefault:"$" desc:"if tokens are needed, channels with this prefix need a subscription token of their own"`
	TokenGrace         time.Duration `env:"TOKEN_GRACE" envDefault:"25s" min:"0s" max:"1h" desc:"time that clients have to refresh an expired token"`

	MaxMessageSize   int  `env:"MAX_MESSAGE_SIZE" envDefault:"262144" min:"128" max:"1073741824" desc:"largest message that a client may send, in bytes"`
	MaxHeaderSize    int  `env:"MAX_HEADER_SIZE" envDefault:"8192" min:"8192" max:"1048576" desc:"largest request line and headers of an HTTP request, in bytes"`
	MaxChannels      int  `env:"MAX_CHANNELS" envDefault:"128" min:"1" max:"1000000" desc:"channels that one connection may subscribe to"`
	MaxChannelLength int  `env:"MAX_CHANNEL_LENGTH" envDefault:"255" min:"1" max:"4096" desc:"longest name of a channel, in bytes"`
	MaxQueuedBytes   int  `env:"MAX_QUEUED_BYTES" envDefault:"1048576" min:"1024" max:"1073741824" desc:"bytes that may wait for one slow client before it is disconnected"`
	MaxConnections   int  `env:"MAX_CONNECTIONS" envDefault:"0" min:"0" max:"100000000" desc:"sockets that may be open on ADDR, whatever they speak; 0: as many as its file descriptors allow"`
	ConnectRate      int  `env:"CONNECT_RATE" envDefault:"0" min:"0" max:"1000000" desc:"handshakes a second that the node accepts; 0: any number"`
	MemoryLimit      Size `env:"MEMORY_LIMIT" shown:"none" min:"16777216" max:"1099511627776" zero:"1" desc:"memory that the process should not exceed, such as 512MiB or 2GB; while more than nine tenths of it are in use, new connections are refused"`
	// The Go runtime reads it before the program starts.
	GoMemoryLimit string `env:"GOMEMLIMIT" shown:"none" desc:"Go's own name for MEMORY_LIMIT, which takes precedence; only the units B, KiB, MiB, GiB and TiB are allowed"`

	// Of one address.
	MaxConnectionsPerAddress int    `env:"MAX_CONNECTIONS_PER_ADDRESS" envDefault:"0" min:"0" max:"100000000" desc:"sockets that one address may have open on the node; IPv6 addresses of the same /64 count as one; 0: any number"`
	ConnectRatePerAddress    int    `env:"CONNECT_RATE_PER_ADDRESS" envDefault:"0" min:"0" max:"1000000" desc:"handshakes a second that one address may make on the node; 0: any number"`
	TrustedProxies           List   `env:"TRUSTED_PROXIES" shown:"none" desc:"addresses and networks of reverse proxies, separated by commas, such as 10.0.0.0/8; limits per address then apply to the client that they name"`
	ForwardedHeader          string `env:"FORWARDED_HEADER" envDefault:"X-Forwarded-For" oneof:"X-Forwarded-For Forwarded" desc:"header in which the trusted proxies name the client"`

	CommandRate      int           `env:"COMMAND_RATE" envDefault:"1000" min:"0" max:"10000" desc:"commands a second that a client may send on average; it may send those of one second and MAX_CHANNELS more at once; 0: any number"`
	HandshakeTimeout time.Duration `env:"HANDSHAKE_TIMEOUT" envDefault:"10s" min:"100ms" max:"10m" desc:"time for a complete request, for the connect command after it, and for a message from its first byte to its last"`
	SubscribeTimeout time.Duration `env:"SUBSCRIBE_TIMEOUT" envDefault:"10s" min:"100ms" max:"10m" desc:"how long a subscription waits for Redis"`
	PingInterval     time.Duration `env:"PING_INTERVAL" envDefault:"25s" min:"1s" max:"1h" zero:"1" desc:"time between two pings; 0: no pings"`
	PongTimeout      time.Duration `env:"PONG_TIMEOUT" envDefault:"8s" min:"100ms" max:"1h" desc:"time that a client has to answer a ping; must be shorter than PING_INTERVAL"`
	GapRate          int           `env:"GAP_RATE" envDefault:"2000" min:"1" max:"10000000" desc:"subscriptions a second that the node ends after the Redis link broke, so that their clients do not all come back at once"`
	DrainTime        time.Duration `env:"DRAIN_TIME" envDefault:"10s" min:"0s" max:"1h" desc:"time over which SIGTERM spreads the closing of connections"`

	Loops           int           `env:"LOOPS" envDefault:"0" min:"0" max:"1024" desc:"optimized: event loops; 0: one for every CPU"`
	Workers         int           `env:"WORKERS" envDefault:"128" min:"1" max:"100000" desc:"optimized: goroutines for work that may block"`
	ScheduleTimeout time.Duration `env:"SCHEDULE_TIMEOUT" envDefault:"1s" min:"1ms" max:"1m" desc:"optimized: how long all workers may be busy before the node stops accepting connections for a moment"`

	ReadBufferSize  int  `env:"READ_BUFFER_SIZE" envDefault:"4096" min:"128" max:"1048576" desc:"idiomatic: bytes of read buffer that every connection holds"`
	WriteBufferSize int  `env:"WRITE_BUFFER_SIZE" envDefault:"4096" min:"128" max:"1048576" desc:"idiomatic: bytes of write buffer that every connection holds"`
	WriteBufferPool bool `env:"WRITE_BUFFER_POOL" envDefault:"false" desc:"idiomatic: whether connections share write buffers and hold one only while they write"`
	SendQueue       int  `env:"SEND_QUEUE" envDefault:"512" min:"1" max:"1000000" desc:"idiomatic: messages that may wait for the writer of a connection; each costs every connection 8 bytes"`

	LogLevel  slog.Level `env:"LOG_LEVEL" envDefault:"info" desc:"debug, info, warn or error"`
	LogFormat string     `env:"LOG_FORMAT" envDefault:"text" oneof:"text json" desc:"how the log is written to standard error"`
}

// ErrInvalid is returned for variables that cannot be used. The text names them
// and tells what to do.
var ErrInvalid = errors.New("tandem: configuration")

// Load reads the configuration from environ, which has the form of os.Environ, for
// a program that runs on goos. The error wraps ErrInvalid and has one line for every
// variable that cannot be used.
func Load(environ []string, goos string) (Config, error) {
	var c Config
	err := env.ParseWithOptions(&c, env.Options{Environment: env.ToMap(environ)})
	if err != nil {
		return Config{}, invalid(append(parseFailures(err, env.ToMap(environ)), unknown(env.ToMap(environ))...))
	}
	if c.Mode == "" {
		c.Mode = Idiomatic
		if goos == "linux" {
			c.Mode = Optimized
		}
	}
	bad := append(unknown(env.ToMap(environ)), outOfBounds(&c)...)
	if len(bad) == 0 {
		bad = c.contradictions(goos)
	}
	if len(bad) > 0 {
		return Config{}, invalid(bad)
	}
	return c, nil
}

// invalid returns one error with a line for each problem. Every line can be read
// alone.
func invalid(lines []string) error {
	return fmt.Errorf("%w: %s", ErrInvalid, strings.Join(lines, "\n"+ErrInvalid.Error()+": "))
}

// contradictions lists what the tags cannot express.
func (c *Config) contradictions(goos string) (bad []string) {
	if c.Mode == Optimized && goos != "linux" {
		bad = append(bad, "MODE=optimized: needs Linux (epoll), and this is "+goos+": set MODE=idiomatic")
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		bad = append(bad, "TLS_CERT_FILE and TLS_KEY_FILE: one is set without the other: set both, or none")
	}
	if c.PingInterval > 0 && c.PongTimeout >= c.PingInterval {
		bad = append(bad, fmt.Sprintf("PONG_TIMEOUT=%v: must be shorter than PING_INTERVAL (%v)", c.PongTimeout, c.PingInterval))
	}
	if session.Reserved(c.RedisPrefix, "") {
		bad = append(bad, fmt.Sprintf("REDIS_PREFIX=%q: Redis reserves all names that begin so: write another, such as app:", c.RedisPrefix))
	}
	for _, a := range []struct{ name, value string }{
		{"ADDR", c.Addr}, {"INTERNAL_ADDR", c.InternalAddr}, {"EMBEDDED_REDIS_ADDR", c.EmbeddedRedisAddr},
	} {
		if err := validAddr(a.value); err != nil && (a.value != "" || a.name != "EMBEDDED_REDIS_ADDR") {
			bad = append(bad, fmt.Sprintf("%s=%q: %v: write host:port, such as 127.0.0.1:8080 or :8080", a.name, a.value, err))
		}
	}
	if _, err := c.Origins(); err != nil {
		bad = append(bad, fmt.Sprintf("ALLOWED_ORIGINS: %v: write origins such as https://*.example.com or http://localhost:3000", err))
	}
	if _, err := c.Proxies(); err != nil {
		bad = append(bad, fmt.Sprintf("TRUSTED_PROXIES: %v: write addresses and networks such as 10.0.0.0/8,192.0.2.1", err))
	}
	if c.RedisURL != "" {
		if err := c.validRedisURL(); err != nil {
			bad = append(bad, fmt.Sprintf("REDIS_URL: %v: write redis://user:password@host:6379/0", err))
		}
	}
	return bad
}

func validAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("not an address")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port", port)
	}
	return nil
}

// parseFailures turns the errors of package env, which name struct fields, into
// lines that name variables.
func parseFailures(err error, environ map[string]string) (lines []string) {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []string{err.Error()}
	}
	for _, err := range all.Errors {
		var bad env.ParseError
		if !errors.As(err, &bad) {
			lines = append(lines, err.Error())
			continue
		}
		field, _ := reflect.TypeFor[Config]().FieldByName(bad.Name)
		name := field.Tag.Get("env")
		lines = append(lines, fmt.Sprintf("%s=%q: %s", name, environ[name], wanted(field.Type)))
	}
	return lines
}

// wanted returns how a value of this type is written.
func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "invalid duration: include a unit, such as 25s or 1m30s"
	case t == reflect.TypeFor[Size]():
		return "not a size: write bytes, or a number with its unit, such as 512MiB or 2GB"
	case t == reflect.TypeFor[slog.Level]():
		return "invalid log level: write debug, info, warn or error"
	case t.Kind() == reflect.Bool:
		return "neither true nor false: write one of them"
	case t.Kind() == reflect.Int:
		return "not a whole number: write one, without a unit"
	}
	return "not understood"
}

// outOfBounds checks the tags min, max, zero and oneof, and for white space around
// values.
func outOfBounds(c *Config) (bad []string) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name := field.Tag.Get("env")
		// As a line end at the end of a secret, which then matches no other copy of it.
		// Keys in PEM have line ends.
		if text := value.String(); field.Type.Kind() == reflect.String && name != "TOKEN_PUBLIC_KEY" && strings.TrimSpace(text) != text {
			bad = append(bad, name+": begins or ends with white space: remove it")
		}
		if allowed := strings.Fields(field.Tag.Get("oneof")); len(allowed) > 0 {
			text := fmt.Sprint(value.Interface())
			if !slices.Contains(allowed, text) {
				bad = append(bad, fmt.Sprintf("%s=%q: unknown: write %s", name, text, strings.Join(allowed, " or ")))
			}
		}
		lowest, highest := field.Tag.Get("min"), field.Tag.Get("max")
		if lowest == "" || value.Int() == 0 && field.Tag.Get("zero") != "" {
			continue
		}
		if value.Int() < bound(field.Type, lowest) || value.Int() > bound(field.Type, highest) {
			or := ""
			if field.Tag.Get("zero") != "" {
				or = "0, or "
			}
			bad = append(bad, fmt.Sprintf("%s=%v: out of range: write %sa value from %s to %s",
				name, value.Interface(), or, lowest, highest))
		}
	}
	return bad
}

// bound reads a min or max tag; a test shows that all of them can be read.
func bound(t reflect.Type, s string) int64 {
	if t == reflect.TypeFor[time.Duration]() {
		d, _ := time.ParseDuration(s)
		return int64(d)
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
