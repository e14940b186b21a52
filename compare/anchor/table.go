package anchor

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tandem-ws/tandem/compare/result"
)

// line is one figure of the table.
type line struct {
	title    string
	scenario string
	unit     string // of the figures; ratios have none
	value    func(sample) float64
	floor    string  // scenario whose floor figure is the unit of the ratio, empty: none
	goal     float64 // of the ratio, or of the value where there is no floor; 0: none
}

func memory(s sample) float64 { return s.bytes }
func micros(s sample) float64 { return s.cpu / 1000 }

var lines = []line{
	{"idle connection, one channel", Idle, "B", memory, "", 400},
	{"idle connection, a channel each", IdleEach, "B", memory, "", 1000},
	{"connect + subscribe", Idle, "us", micros, Idle, 1.4},
	{"delivery, low rate", Low, "us", micros, Low, 1.08},
	{"delivery, burst", Burst, "us", micros, Burst, 0.05},
	{"message, a channel each (*)", Many, "us", micros, Low, 3},
	{"the same, against a woken floor (*)", Many, "us", micros, Many, 0},
	{"idle connection, 1 k to 9.5 k", Growth, "B", func(s sample) float64 { return s.firstHalf }, "", 400},
	{"idle connection, 9.5 k to 18 k", Growth, "B", func(s sample) float64 { return s.secondHalf }, "", 400},
	{"delivery, 18 k against 1 k", Growth, "", func(s sample) float64 { return s.cpuGrowth }, Growth, 1.1},
	{"message to one, 18 k others against 1 k", Apart, "", func(s sample) float64 { return s.cpuGrowth }, "", 1.1},
	{"gc share of a core, 18 k idle", Garbage, "%", func(s sample) float64 { return s.gc.idleOfCore }, "", 0},
	{"gc share of the server's CPU, fan-out", Garbage, "%", func(s sample) float64 { return s.gc.ofProcess }, "", 0},
	{"longest pause, connecting and idle", Garbage, "us", func(s sample) float64 { return s.gc.idlePause / 1000 }, "", 0},
	{"longest pause, fan-out", Garbage, "us", func(s sample) float64 { return s.gc.pause / 1000 }, "", 0},
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
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.SetTitle("%s against the floor: median (range) of %d", o.Name, o.Repeats)
	header := table.Row{"", "unit", "floor"}
	for _, peer := range o.Peers {
		header = append(header, peer.Name, "x floor")
	}
	t.AppendHeader(append(header, o.Name, "x floor", "goal", "met", "flawed", "disturbed", noiseHeader))
	var columns []table.ColumnConfig
	for column := range len(header) + 2 {
		columns = append(columns, table.ColumnConfig{Number: column + 1, Align: align(column)})
	}
	t.SetColumnConfigs(columns)
	var flaws []string
	var rows []table.Row
	for _, l := range lines {
		server := len(o.Peers) + 1
		if len(all.of(l.scenario, server)) == 0 {
			continue
		}
		row := table.Row{l.title, l.unit, spreadOf(values(all.of(unitOf(l), 0), l.value))}
		var figure, ratio spread
		for subject := 1; subject <= server; subject++ {
			figure, ratio = l.figures(all, subject)
			row = append(row, figure, ratio)
		}
		goal, met := "", ""
		if o.Goals {
			goal, met = l.judge(figure, ratio)
		}
		flawedRuns, disturbed, total := 0, 0, 0
		for subject := range server + 1 {
			for _, s := range all.of(l.scenario, subject) {
				total++
				if s.others > noisy {
					disturbed++
				}
				if len(s.flaws) == 0 {
					continue
				}
				flawedRuns++
				flaws = append(flaws, fmt.Sprintf("%s, %s: %s", l.scenario, o.name(subject), strings.Join(s.flaws, "; ")))
				if met != "" && (subject == 0 || subject == server) {
					met = "-" // what was not delivered was not paid for either
				}
			}
		}
		rows = append(rows, append(row, goal, met, share(flawedRuns, total), share(disturbed, total), l.beyondNoise(o, all)))
	}
	t.AppendRows(rows)
	caption := fmt.Sprintf("CPU is the process's, user and system. Flawed: messages or connections were lost. Disturbed: other programs used more than %.2f CPUs.\n"+
		"(*) Against the floor's delivery at the low rate, which is one of thousands in a row; a woken floor gets as many messages for one connection.", noisy)
	rendered := t.Render()
	if first, _, _ := strings.Cut(rendered, "\n"); o.Columns > 0 && text.StringWidth(first) > o.Columns {
		rendered, caption = stacked(o, rows), text.WrapSoft(caption, o.Columns)
	}
	// like the table's own writes, these are not checked
	_, _ = fmt.Fprintln(out, rendered)
	_, _ = fmt.Fprintln(out, caption)
	slices.Sort(flaws)
	for _, f := range slices.Compact(flaws) {
		_, _ = fmt.Fprintln(out, "flawed:", f)
	}
}

// noiseHeader is the header of the column that beyondNoise fills.
const noiseHeader = "beyond the noise"

// beyondNoise says which subjects the server spends less or more than by more than the
// noise.
func (l line) beyondNoise(o Options, all samples) string {
	server := len(o.Peers) + 1
	own := result.FigureOf(values(all.of(l.scenario, server), l.value))
	names := make(map[result.Verdict][]string)
	for subject := range server {
		scenario := l.scenario
		if subject == 0 {
			scenario = unitOf(l)
		}
		if flawed(all.of(scenario, subject)) || flawed(all.of(l.scenario, server)) {
			return "not judged"
		}
		base := result.FigureOf(values(all.of(scenario, subject), l.value))
		v := result.Judge(result.Metric{}, base, own)
		names[v] = append(names[v], o.name(subject))
	}
	var parts []string
	if less := names[result.Better]; len(less) > 0 {
		parts = append(parts, "less than "+strings.Join(less, ", "))
	}
	if more := names[result.Worse]; len(more) > 0 {
		parts = append(parts, "more than "+strings.Join(more, ", "))
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, "; ")
	case len(names[result.Unknown]) > 0:
		return "unknown"
	case len(names[result.Noise]) > 0:
		return "no"
	}
	return ""
}

func flawed(runs []sample) bool {
	return slices.ContainsFunc(runs, func(s sample) bool { return len(s.flaws) > 0 })
}

// stacked is the table with a line for each subject, for narrow terminals.
func stacked(o Options, rows []table.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s against the floor: median (range) of %d\n", o.Name, o.Repeats)
	for _, row := range rows {
		cell := func(i int) string { return fmt.Sprint(row[i]) }
		fmt.Fprintf(&b, "\n%s\n  %-10s  %s\n", cell(0), "floor", strings.TrimSpace(cell(2)+" "+cell(1)))
		for subject := 1; subject <= len(o.Peers)+1; subject++ {
			figure, ratio := cell(1+2*subject), cell(2+2*subject)
			fmt.Fprintf(&b, "  %-10s  %s\n", o.name(subject), strings.TrimSpace(figure+" "+cell(1)))
			if ratio != "-" {
				fmt.Fprintf(&b, "  %-10s  %s x floor\n", "", ratio)
			}
		}
		last := []string{"goal", "met", "flawed", "disturbed", noiseHeader}
		for i, name := range last {
			if says := cell(len(row) - len(last) + i); says != "" {
				fmt.Fprintf(&b, "  %-10s  %s\n", name, says)
			}
		}
	}
	return b.String()
}

// name is what a subject is called.
func (o *Options) name(subject int) string {
	switch {
	case subject == 0:
		return "floor"
	case subject <= len(o.Peers):
		return o.Peers[subject-1].Name
	}
	return o.Name
}

// align is how a column is set: names to the left, figures to the right.
func align(column int) text.Align {
	if column < 2 {
		return text.AlignLeft
	}
	return text.AlignRight
}

// unitOf is the scenario whose floor figure stands in the floor's column.
func unitOf(l line) string {
	if l.floor != "" {
		return l.floor
	}
	return l.scenario
}

// figures are what a subject spent, and how much that is of the floor's.
func (l line) figures(all samples, subject int) (figure, ratio spread) {
	own := values(all.of(l.scenario, subject), l.value)
	figure, ratio = spreadOf(own), spreadOf(nil)
	if l.floor != "" {
		ratio = spreadOf(ratios(own, values(all.of(l.floor, 0), l.value)))
	}
	return figure, ratio
}

// judge tells the goal, and whether it is met.
func (l line) judge(figure, ratio spread) (goal, met string) {
	if l.goal == 0 {
		return "", ""
	}
	judged := figure.median
	goal = strings.TrimSpace(format(l.goal) + " " + l.unit)
	if l.floor != "" {
		judged, goal = ratio.median, format(l.goal)
	}
	if judged > l.goal {
		return goal, "no"
	}
	return goal, "yes"
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
