package report

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/tandem-ws/tandem/compare/result"
)

// Bench writes the samples in Go benchmark format, a line each, so that benchstat
// reads them: variant, connections and rate are in the name (benchstat -col /variant).
// Runs with flaws are left out; a line that benchstat does not read says so.
func (r *Report) Bench(w io.Writer) error {
	b := bufio.NewWriter(w)
	m := &r.folder.Manifest
	for _, l := range [][2]string{
		{"goos", m.Host.OS}, {"goarch", m.Host.Arch}, {"pkg", "github.com/tandem-ws/tandem/compare"}, {"cpu", m.Host.CPU},
		// benchstat would not put files side by side that differ in these
		{"# commit", m.Commit}, {"# kernel", m.Host.Kernel}, {"# redis", m.Redis.Version}, {"# profile", m.Profile},
	} {
		if l[1] != "" {
			fmt.Fprintf(b, "%s: %s\n", l[0], strings.Join(strings.Fields(l[1]), " "))
		}
	}
	var seen []string
	for _, p := range r.points {
		for _, metric := range p.Metrics() {
			unit := unitOf(metric)
			if slices.Contains(seen, unit) || metric.Plain {
				continue
			}
			seen = append(seen, unit)
			better := map[bool]string{true: "higher", false: "lower"}[metric.More]
			fmt.Fprintf(b, "Unit %s better=%s assume=nothing\n", unit, better)
		}
	}
	for _, p := range r.points {
		most := 0
		for _, a := range r.variants {
			for _, s := range p.Samples(a) {
				most = max(most, s.Connections)
			}
		}
		for _, a := range r.variants {
			for _, s := range p.Samples(a) {
				if !s.Sound() {
					fmt.Fprintf(b, "# left out: %s, %s, run %d: %s\n", s.Variant, s.Name(), s.Repeat, strings.Join(s.Flaws, "; "))
					continue
				}
				benchLine(b, p, s, most)
			}
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("report: write benchmarks: %w", err)
	}
	return nil
}

// benchLine writes a run. Connections are the point's, for runs that lost some
// must not have another name.
func benchLine(b *bufio.Writer, p *result.Point, s *result.Sample, connections int) {
	// the last part has no dash, for what follows one is taken as GOMAXPROCS
	fmt.Fprintf(b, "Benchmark%s/variant=%s/connections=%d/x=%s\t1", camel(s.Scenario), s.Variant, connections, strings.ReplaceAll(fmt.Sprint(s.X), "-", ""))
	for _, metric := range p.Metrics() {
		if v, ok := s.Values[metric.ID]; ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
			if metric.Unit == "MB" {
				v *= kilo * kilo
			}
			fmt.Fprintf(b, "\t%v %s", v, unitOf(metric))
		}
	}
	fmt.Fprintln(b)
}

// unitOf is a metric as a unit of its own, for a benchmark tells its figures apart
// by nothing else.
func unitOf(m result.Metric) string {
	unit := strings.ReplaceAll(m.ID, "_", "-")
	if m.Unit == "" || strings.HasSuffix(unit, "per-second") {
		return unit
	}
	// benchstat takes MB for millions of bytes
	in := map[string]string{"%": "percent", "/s": "per-s", "µs": "us", "MB": "B"}[m.Unit]
	if in == "" {
		in = m.Unit
	}
	if strings.Contains("-"+unit+"-", "-"+in+"-") {
		return unit
	}
	return unit + "-" + in
}

// camel is a scenario's name as benchmarks are named.
func camel(name string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == ' ' }) {
		b.WriteString(upper(part))
	}
	return b.String()
}
