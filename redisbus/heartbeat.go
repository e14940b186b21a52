package redisbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"time"
)

// renewal is after how many heartbeats the command link makes a new connection.
// Where the address has come to lead to another Redis while this one lives on,
// the probe is published there from then on, and does not come back on the
// Pub/Sub links.
const renewal = 10

// current reports whether the connection leads to the master, as far as that is
// known without asking.
func (p *publisher) current() bool { return p.topology.current(p.conn.addr, p.conn.RemoteAddr()) }

// connect makes a connection if there is none, or none that is of use.
func (p *publisher) connect(ctx context.Context) error {
	if p.conn != nil && (!p.current() || p.conn.stale()) {
		p.disconnect()
	}
	if p.conn == nil {
		c, err := p.dialer.connect(ctx)
		if err != nil {
			return err
		}
		p.use(c)
	}
	return nil
}

func (p *publisher) use(c *conn) {
	p.conn, p.since, p.silent = c, time.Now(), false
	if !c.role {
		p.notes.noRole(p.log)
	}
}

// renew replaces a connection that has been used for a while.
func (p *publisher) renew(ctx context.Context) {
	if time.Since(p.since) < renewal*p.opts.HeartbeatInterval {
		return
	}
	p.since = time.Now()
	c, err := p.dialer.connect(ctx)
	if err != nil {
		// The present one works all the same.
		p.log.Debug("redis command link not renewed", "error", textOf(err))
		return
	}
	p.disconnect()
	p.use(c)
}

func (p *publisher) disconnect() {
	if p.conn != nil {
		// It is of no use any more.
		_ = p.conn.Close()
		p.conn = nil
	}
}

// beat is one heartbeat.
func (p *publisher) beat(ctx context.Context) error {
	fresh := p.conn == nil
	if err := p.connect(ctx); err != nil {
		return err
	}
	p.renew(ctx)
	err := p.exchange()
	if err != nil && !fresh && !errors.Is(err, errNotMaster) && ctx.Err() == nil && gone(err) {
		// Redis closes connections that are idle for longer than its setting
		// timeout. There is nothing in a heartbeat that may not be repeated.
		if err = p.connect(ctx); err == nil {
			err = p.exchange()
		}
	}
	return err
}

// exchange sends the commands of a heartbeat and reads their answers. On error
// the connection is closed.
func (p *publisher) exchange() (err error) {
	defer func() {
		if err != nil {
			p.disconnect()
		}
	}()
	c := p.conn
	probe := !p.silent
	p.sequence++
	began := time.Now()
	c.command("PING")
	if c.role {
		c.command("ROLE")
	}
	if probe {
		c.command("PUBLISH", p.probe.name, strconv.FormatUint(p.sequence, 10))
	}
	if err := c.flush(); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	v, err := c.read()
	if err == nil {
		err = v.err()
	}
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	roundTrip := time.Since(began)
	p.roundTrip.Store(int64(roundTrip))
	p.beats.Add(1)
	p.opts.Heartbeat(CommandLink, roundTrip)
	if err := p.readRole(c); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	if !probe {
		return nil
	}
	v, err = c.read()
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	if err := v.err(); err != nil {
		p.silent = true
		p.notes.noProbe(p.log, err)
		return nil
	}
	p.probe.latest.Store(&probed{sequence: p.sequence, sent: began, accepted: time.Now()})
	p.probed()
	return nil
}

// readRole reads the answer to ROLE, if it was asked.
func (p *publisher) readRole(c *conn) error {
	if !c.role {
		return nil
	}
	v, err := c.read()
	if err != nil {
		return err
	}
	if v.err() != nil {
		// It was allowed once.
		c.role = false
		p.notes.noRole(p.log)
		return nil
	}
	if err := notMaster(c.addr, v); err != nil {
		p.demoted()
		return err
	}
	return nil
}

// gone reports whether err says that the other side has closed the connection.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
