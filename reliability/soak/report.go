package soak

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// report writes the run's figures as Markdown.
func (r *run) report(out io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n", r.name())
	row := func(what, format string, a ...any) { fmt.Fprintf(&b, "| %s | %s |\n", what, fmt.Sprintf(format, a...)) }
	fmt.Fprintf(&b, "| what | figure |\n| --- | --- |\n")
	row("began, ended", "%s, %s (%v)", r.began.UTC().Format(time.DateTime), r.ended.UTC().Format(time.DateTime), r.ended.Sub(r.began).Round(time.Second))
	row("cycles", "%d", r.cycles)
	for _, name := range slices.Sorted(maps.Keys(r.faults)) {
		row("of these: "+name, "%d", r.faults[name])
	}
	if r.pool != nil {
		r.clients(row)
		notice := r.pool.Notice()
		row("from a gap to its announcement: p99, max", "%v, %v", notice.At(99).Round(time.Millisecond), notice.Max().Round(time.Millisecond))
	}
	row("longest time until at rest", "%v", r.slowest.Round(time.Millisecond))
	if len(r.samples) >= 3 {
		first, last := r.samples[len(r.samples)/4], r.samples[len(r.samples)-1]
		for _, q := range quantities {
			early, late, _ := q.grown(r.samples)
			name := strings.TrimSpace(q.name + " " + q.unit)
			row(name+": first, warm, last", "%.2f, %.2f, %.2f", q.of(r.samples[0])/q.divisor, q.of(first)/q.divisor, q.of(last)/q.divisor)
			row(name+": early at most, late at least", "%.2f, %.2f", early/q.divisor, late/q.divisor)
		}
		row("resident memory MB: first, last", "%.1f, %.1f", r.samples[0].rss/1e6, last.rss/1e6)
	}
	verdict := "passed"
	if len(r.failures) > 0 {
		verdict = "FAILED: " + strings.Join(r.failures, "; ")
	}
	row("verdict", "%s", verdict)
	r.counters(&b)
	_, _ = io.WriteString(out, b.String())
}

// counters writes the server's own metrics at the first and the last sample.
func (r *run) counters(b *strings.Builder) {
	if len(r.samples) == 0 {
		return
	}
	first, last := r.samples[0].all, r.samples[len(r.samples)-1].all
	fmt.Fprintf(b, "\n| metric of the server | after the first cycle | after the last |\n| --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(last)) {
		if sum := last.Sum(name); !math.IsNaN(sum) && (strings.HasPrefix(name, "tandem_") || name == "process_cpu_seconds_total") {
			fmt.Fprintf(b, "| `%s` | %.6g | %.6g |\n", name, first.Count(name), sum)
		}
	}
}

// clients writes what the clients counted.
func (r *run) clients(row func(what, format string, a ...any)) {
	t := r.pool.Counters()
	row("published", "%d", r.publisher.Total())
	row("received", "%d", t.Received)
	row("of these, by clients", "%s", counts(t.Kinds))
	row("of these, compressed", "%d", t.Deflated)
	row("missed, and announced", "%d", t.Announced)
	row("missed by all, protocol cannot signal gaps", "%d", t.Unannounced)
	row("lost without an announcement", "%d", t.Lost)
	row("repeated or late", "%d", t.Repeated)
	row("misrouted, not subscribed, violations", "%d, %d, %d", t.Misrouted, t.Unsubscribed, t.Broken)
	row("connected", "%d", t.Connected)
	row("replaced, resubscribed", "%d, %d", t.Replaced, t.Rejoined)
	row("tokens renewed", "%d", t.Renewed)
	row("subscriptions ended with 2500, events gap", "%d", t.Gaps)
	row("subscriptions refused temporarily", "%d", t.Refused)
	row("failed connects", "%s", counts(t.Failed))
	row("ended by the server, by code", "%s", counts(t.Ended))
}

// counts writes a map in order.
func counts(m map[string]int64) string {
	if len(m) == 0 {
		return "none"
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s: %d", key, m[key]))
	}
	return strings.Join(parts, ", ")
}
