package redisbus

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/redisbus/redistest"
)

// timeline is a receiver that keeps the order of publications and gaps of one
// channel.
type timeline struct {
	mu     sync.Mutex
	events []string // payloads; "gap"
}

func (r *timeline) Deliver(p modes.Publication) { r.add(string(p.Data)) }
func (r *timeline) Flush()                      {}
func (r *timeline) Lost([]string)               { r.add("gap") }

func (r *timeline) add(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

func (r *timeline) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		return ""
	}
	return r.events[len(r.events)-1]
}

// check finds what was accepted and neither received nor announced as missed.
func (r *timeline) check(t *testing.T, accepted []string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	at, gap, gaps := 0, false, 0
	for _, event := range r.events {
		if event == "gap" {
			gap = true
			gaps++
			continue
		}
		found := at
		for found < len(accepted) && accepted[found] != event {
			found++
		}
		if found == len(accepted) {
			// It was not accepted, as far as the publisher knows, and arrived all the same.
			continue
		}
		if found > at && !gap {
			t.Errorf("%d publications before %s are missing without a word", found-at, event)
		}
		at, gap = found+1, false
	}
	if at < len(accepted) && !gap {
		t.Errorf("the last %d publications are missing without a word", len(accepted)-at)
	}
	t.Logf("%d accepted, %d gaps", len(accepted), gaps)
}

// TestSentinel: the master is exchanged in every way there is, under load.
func TestSentinel(t *testing.T) {
	s := redistest.StartSentinels(t, nil)
	r := new(timeline)
	bus, err := New(Options{
		URL: s.URL(), Log: testLog(t), HeartbeatInterval: 200 * time.Millisecond, HeartbeatTimeout: 2 * time.Second,
		ReconnectMax: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if err := bus.Start(r); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, bus)
	mustSubscribe(t, bus, "a")

	var accepted []string
	number := 0
	publish := func() bool {
		number++
		message := fmt.Sprint(number)
		err := publishOn(bus, "a", message)
		if err == nil {
			accepted = append(accepted, message)
		}
		return err == nil
	}
	// through brings a fault about while it publishes, until messages flow through
	// another master.
	through := func(what string, fault func(master *redistest.Server)) {
		t.Helper()
		for range 100 {
			publish()
		}
		before := s.Master()
		began := time.Now()
		fault(before)
		deadline := time.Now().Add(2 * time.Minute)
		for {
			if time.Now().After(deadline) {
				t.Fatalf("%s: nothing flows through a new master: %v", what, bus.Ready())
			}
			now := s.Master()
			ok := publish()
			if ok && now != nil && now != before && bus.Ready() == nil && now.Subscribers("a") == 1 {
				break
			}
		}
		t.Logf("%s: flowing again after %v", what, time.Since(began))
		for range 100 {
			publish()
		}
	}
	through("SENTINEL FAILOVER", func(*redistest.Server) {
		// A replica may not be good enough for a moment.
		await(t, "the failover begins", func() bool {
			return s.Sentinels[0].Client().Do(t.Context(), "SENTINEL", "FAILOVER", s.Name).Err() == nil
		})
	})
	var old *redistest.Server
	through("paused", func(master *redistest.Server) {
		old = master
		master.Pause()
	})
	old.Resume()
	await(t, "the old master is a replica", func() bool {
		role, err := old.Client().Do(t.Context(), "ROLE").Slice()
		return err == nil && role[0] == "slave"
	})
	through("killed", func(master *redistest.Server) { master.Kill() })
	s.Sentinels[0].Kill()
	s.Sentinels[1].Pause()
	for range 100 {
		publish()
	}
	awaitReady(t, bus)
	other := startBus(t, s.URL(), newRecorder(), Options{HeartbeatTimeout: 2 * time.Second})
	if err := publishOn(other, "a", "from another"); err != nil {
		t.Errorf("with one sentinel left: %v", err)
	}
	s.Sentinels[1].Resume()
	if !publish() {
		t.Error("not published at the end")
	}
	await(t, "the last message arrives", func() bool { return r.last() == accepted[len(accepted)-1] })
	r.check(t, accepted)
}

// TestSentinelCredentials: sentinels and Redis have passwords of their own, and
// errors tell of neither.
func TestSentinelCredentials(t *testing.T) {
	s := redistest.StartSentinels(t, []string{"--requirepass", "hunter2", "--masterauth", "hunter2"},
		"sentinel auth-pass mymaster hunter2")
	for _, sentinel := range s.Sentinels {
		if err := sentinel.Client().Do(t.Context(), "ACL", "SETUSER", "watcher", "on", ">sesame", "allchannels", "+@all").Err(); err != nil {
			t.Fatal(err)
		}
		if err := sentinel.Client().Do(t.Context(), "ACL", "SETUSER", "default", "resetpass", "off").Err(); err != nil {
			t.Fatal(err)
		}
	}
	good := strings.Replace(s.URL(), "://", "://:hunter2@", 1) + "&sentinel_username=watcher&sentinel_password=sesame"
	exchangeOne(t, good)
	if report, err := Probe(t.Context(), Options{URL: good}); err != nil || report.Addr != s.Servers[0].Addr() || !report.Master || report.Sentinels != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	for what, url := range map[string]string{
		"redis password":    strings.Replace(good, "hunter2", "hunter3", 1),
		"sentinel password": strings.Replace(good, "sesame", "sesam3", 1),
		"master":            strings.Replace(good, s.Name, "other", 1),
	} {
		_, err := Probe(t.Context(), Options{URL: url})
		if err == nil || strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "sesam") || strings.Contains(err.Error(), "\n") {
			t.Errorf("wrong %s: %v", what, err)
		}
	}
}

// TestNewestConfigurationCounts: which of the answers of sentinels is believed.
func TestNewestConfigurationCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		known   located
		answers []located
		want    string
	}{
		"first":                  {located{}, []located{{"a:1", 0}}, "a:1"},
		"agreed":                 {located{"a:1", 3}, []located{{"b:1", 4}, {"b:1", 4}}, "b:1"},
		"one is late":            {located{"a:1", 3}, []located{{"a:1", 3}, {"b:1", 4}}, "b:1"},
		"the others are away":    {located{"b:1", 4}, []located{{"a:1", 3}}, "b:1"},
		"all have begun anew":    {located{"b:1", 4}, []located{{"a:1", 0}, {"a:1", 0}}, "a:1"},
		"promoted, not switched": {located{"a:1", 3}, []located{{"b:1", 3}}, "b:1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sentinels{known: tc.known, log: testLog(t), moved: make(chan struct{}, 1)}
			if got := s.enter(tc.answers, 3); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if moved := len(s.moved) == 1; moved != (tc.known.addr != "" && tc.known.addr != tc.want) {
				t.Errorf("moved: %v", moved)
			}
		})
	}
}
