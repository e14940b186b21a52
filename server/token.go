package server

import (
	"flag"
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/token"
	"github.com/tandem-ws/tandem/server/config"
)

// makeToken prints a token that a server with this environment accepts, as a back
// end would make it.
func makeToken(i *invocation) int {
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	user := flags.String("user", "", "the `id` of the user")
	life := flags.Duration("for", time.Hour, "how long the token is good; 0: for ever")
	channel := flags.String("channel", "", "make a token to subscribe to this channel, instead of one to connect")
	channels := flags.String("channels", "", "`channels` that the connection is subscribed to at once, separated by commas")
	client := flags.String("client", "", "`id` of the only connection that may use the token")
	if code, done := i.parse(flags, 0, 0); done {
		return code
	}
	c, err := i.config()
	switch {
	case err != nil:
		return outcome(i.stderr, err)
	case c.TokenSecret == "":
		return refuse(i.stderr, "tandem: token: TOKEN_SECRET is not set: set it to that of the server")
	case *channel != "" && *channels != "":
		return refuse(i.stderr, "tandem: token: -channel and -channels: a token is either for a channel or for a connection")
	case *life < 0:
		return refuse(i.stderr, fmt.Sprintf("tandem: token: -for=%v: write a duration such as 1h, or 0", *life))
	}
	claims := session.Claims{User: *user, Channel: *channel, Client: *client, Channels: config.ParseList(*channels)}
	named := claims.Channels
	if *channel != "" {
		named = append(named, *channel)
	}
	for _, name := range named {
		if line := invalidChannel(&c, name); line != "" {
			return refuse(i.stderr, "tandem: token: "+line)
		}
	}
	signed, err := sign(&c, claims, *life)
	if err == nil {
		_, err = fmt.Fprintln(i.stdout, signed)
	}
	return outcome(i.stderr, err)
}

// sign makes a token that expires after life, or never if life is 0.
func sign(c *config.Config, claims session.Claims, life time.Duration) (string, error) {
	if life > 0 {
		claims.Expires = time.Now().Add(life).Unix()
	}
	signed, err := token.Sign(c.TokenSecret, claims)
	if err != nil {
		return "", fmt.Errorf("tandem: token: %w", err)
	}
	return signed, nil
}
