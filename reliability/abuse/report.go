package abuse

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/reliability/attack"
)

// report writes the run's figures as Markdown.
func (r *run) report() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%d healthy connections, %g messages a second to %d channels; %d hostile connections at once.\n\n",
		r.mode, r.Healthy, r.Rate, r.Channels, r.Hostile)
	for _, kind := range attack.Kinds() {
		fmt.Fprintf(&b, "- %s: %s\n", kind, attack.About(kind))
	}
	b.WriteString("\n")
	// two tables of the same attacks, so that a terminal shows them
	b.WriteString("Healthy clients: latency in ms, new clients that connected.\n\n")
	b.WriteString("| attack | p50 | p99 | max | p99/calm | received | new, p99 ms |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	for _, p := range r.phases {
		calm := r.phases[0]
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %.1f | %d | %d, %.1f |\n",
			p.name, ms(p.p50), ms(p.p99), ms(p.most), float64(p.p99)/float64(max(calm.p99, 1)), p.received, p.entered, ms(p.enter))
	}
	b.WriteString("\nThe server, and the connections of hostile clients.\n\n")
	b.WriteString("| attack | MB | MB/calm | cores | made | refused | ended | sent |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, p := range r.phases {
		calm := r.phases[0]
		fmt.Fprintf(&b, "| %s | %.1f | %.2f | %.2f | %d | %d | %d | %d |\n",
			p.name, p.memory/1e6, p.memory/max(calm.memory, 1), p.cpu.Seconds()/p.took.Seconds(),
			p.hostile.Connections, p.hostile.Refused, p.hostile.Ended, p.hostile.Sent)
	}
	if r.pool != nil {
		t := r.pool.Counters()
		fmt.Fprintf(&b, "\nThe healthy: %d received, %d lost, %d repeated or late, %d connections ended by the server.\n",
			t.Received, t.Lost, t.Repeated, len(t.Ended))
	}
	if r.Bounds != nil {
		fmt.Fprintf(&b, "Bounds: p99 at most %g times calm, or %v, or %v under a flood; memory at most %g times calm and %g KB for each hostile connection.\n",
			r.Bounds.Latency, r.Bounds.Free, r.Bounds.Flood, r.Bounds.Memory, r.Bounds.PerHostile/1024)
	}
	verdict := "passed"
	if len(r.failures) > 0 {
		verdict = "FAILED:\n- " + strings.Join(r.failures, "\n- ")
	}
	fmt.Fprintf(&b, "Verdict: %s\n", verdict)
	_, _ = io.WriteString(r.Out, b.String())
}
