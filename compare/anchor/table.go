package anchor

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// line is one figure of the table.
type line struct {
	title    string
	scenario string
	unit     string // of floor and server; ratios have none
	value    func(sample) float64
	floor    string  // scenario whose floor figure is the unit, empty: none
	goal     float64 // of the ratio, or of the value where there is no floor
}

func memory(s sample) float64 { return s.bytes }
func micros(s sample) float64 { return s.cpu / 1000 }

var lines = []line{
	{"idle connection, one channel", Idle, "B", memory, "", 400},
	{"idle connection, a channel each", IdleEach, "B", memory, "", 1000},
	{"connect + subscribe", Idle, "us", micros, Idle, 1.4},
	{"delivery, low rate", Low, "us", micros, Low, 1.08},
	{"delivery, burst", Burst, "us", micros, Burst, 0.05},
	{"message, a channel each", Many, "us", micros, Low, 3},
}

// spread is median and range of some runs.
type spread struct{ median, low, high float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

func (s spread) String() string {
	switch {
	case math.IsNaN(s.median):
		return "-"
	case s.low == s.high:
		return format(s.median)
	}
	return fmt.Sprintf("%s (%s to %s)", format(s.median), format(s.low), format(s.high))
}

// format shows three significant digits.
func format(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func round(v float64) float64 { return math.Round(v*1000) / 1000 }

func values(runs []sample, value func(sample) float64) []float64 {
	var all []float64
	for _, s := range runs {
		all = append(all, value(s))
	}
	return all
}

func writeTable(out io.Writer, o Options, all samples) {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.SetTitle("%s against the floor: median (range) of %d", o.Name, o.Repeats)
	t.AppendHeader(table.Row{"", "unit", "floor", o.Name, "x floor", "goal", "met", "flawed", "disturbed"})
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 3, Align: text.AlignRight}, {Number: 4, Align: text.AlignRight},
		{Number: 5, Align: text.AlignRight}, {Number: 6, Align: text.AlignRight},
	})
	var flaws []string
	for _, l := range lines {
		runs := all[l.scenario]
		if runs == nil || len(runs[1]) == 0 {
			continue
		}
		server := values(runs[1], l.value)
		floor := runs[0]
		if l.floor != "" {
			floor = all[l.floor][0]
		}
		unit := values(floor, l.value)
		ratio, goal := spread{math.NaN(), math.NaN(), math.NaN()}, format(l.goal)+" "+l.unit
		judged := spreadOf(server).median
		if l.floor != "" {
			ratio, goal = spreadOf(ratios(server, unit)), format(l.goal)
			judged = ratio.median
		}
		met := "yes"
		if judged > l.goal {
			met = "no"
		}
		flawed, disturbed := 0, 0
		for _, s := range slices.Concat(runs[0], runs[1]) {
			if s.others > noisy {
				disturbed++
			}
			if len(s.flaws) > 0 {
				flawed++
				flaws = append(flaws, fmt.Sprintf("%s: %s", l.scenario, strings.Join(s.flaws, "; ")))
			}
		}
		if flawed > 0 {
			met = "-" // what was not delivered was not paid for either
		}
		total := len(runs[0]) + len(runs[1])
		t.AppendRow(table.Row{l.title, l.unit, spreadOf(unit), spreadOf(server), ratio, goal, met, share(flawed, total), share(disturbed, total)})
	}
	t.SetCaption("CPU is the server's, user and system. A channel each: against the floor's delivery at the low rate.\n"+
		"Flawed: messages or connections were lost. Disturbed: other programs used more than %.2f CPUs.", noisy)
	t.Render()
	slices.Sort(flaws)
	for _, f := range slices.Compact(flaws) {
		_, _ = fmt.Fprintln(out, "flawed:", f) // like the table's own writes
	}
}

// share is n of total runs, nothing if none.
func share(n, total int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", n, total)
}

// ratios divides run by run, so that what slowed a whole repeat falls out.
func ratios(server, floor []float64) []float64 {
	var all []float64
	for i := range min(len(server), len(floor)) {
		all = append(all, server[i]/floor[i])
	}
	return all
}
