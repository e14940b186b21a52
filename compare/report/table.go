package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tandem-ws/tandem/compare/result"
)

// headline lists the metrics that represent a scenario; the first is charted. A
// scenario that is not listed is represented by the first two metrics that are judged.
var headline = map[string][]string{
	"idle":                {result.PerConnection},
	"storm":               {result.ConnectCPU, result.ConnectP99},
	"broadcast":           {result.DeliveryCPU, result.P99},
	"burst":               {result.DeliveryCPU, result.DeliveryRate},
	"channels":            {result.MessageCPU, result.P99},
	"publish":             {result.MessageCPU, result.P99},
	"churn":               {result.ReplaceCPU, result.ConnectP99},
	"frozen":              {result.P99, result.Growth},
	"redis-restart":       {result.Recovery, result.Kept},
	result.LedgerScenario: {result.LedgerTotal},
}

// leading returns the metrics that represent a point.
func leading(p *result.Point) (list []result.Metric) {
	ids, known := headline[p.Scenario]
	have := p.Metrics()
	for _, id := range ids {
		if i := slices.IndexFunc(have, func(m result.Metric) bool { return m.ID == id }); i >= 0 {
			list = append(list, have[i])
		}
	}
	for _, m := range have {
		if !known && !m.Plain && len(list) < 2 {
			list = append(list, m)
		}
	}
	return list
}

// newTable returns a table in this package's style. Columns other than the first are
// aligned to the right unless they are listed in left.
func newTable(header []string, left ...int) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().HTML = table.HTMLOptions{Newline: "<br>"}
	row := make(table.Row, len(header))
	configs := make([]table.ColumnConfig, len(header))
	for i, h := range header {
		row[i] = h
		configs[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight}
		if i == 0 || slices.Contains(left, i) {
			configs[i].Align, configs[i].AlignHeader = text.AlignLeft, text.AlignLeft
		}
	}
	t.AppendHeader(row)
	t.SetColumnConfigs(configs)
	return t
}

// headTable is the main table: the leading figures of every point.
func (r *Report) headTable(m markup) table.Writer {
	header := []string{"", ""}
	for _, a := range r.variants {
		header = append(header, m.text(a))
	}
	left := []int{1, len(header)}
	if r.judges() {
		header = append(header, noiseHeader)
		left = append(left, len(header))
	}
	t := newTable(append(header, "what bounded it"), left...)
	t.Style().HTML.CSSClass = "figures head"
	for _, p := range r.points {
		if p.Scenario == result.LedgerScenario {
			continue // has a table of its own
		}
		t.AppendSeparator()
		name := m.row(r.folder.Manifest.ScenarioOf(p.Scenario).Title, p.Name)
		bound := m.of("bounded by", m.text(r.bound(p)))
		for _, metric := range leading(p) {
			row := append(table.Row{name, m.text(metric.Name)}, r.cells(m, p, metric)...)
			if r.judges() {
				row = append(row, m.of(noiseHeader, m.text(r.beyondNoise(p, metric))))
			}
			t.AppendRow(append(row, bound))
			name, bound = "", ""
		}
	}
	return t
}

// cells returns a metric's figures for each variant, compared with the first.
func (r *Report) cells(m markup, p *result.Point, metric result.Metric) (cells table.Row) {
	base := p.Figure(r.base(), metric.ID)
	for _, a := range r.variants {
		f := p.Figure(a, metric.ID)
		says := m.figure(f, metric)
		if a != r.base() {
			says = m.judged(metric, base, f)
		}
		cells = append(cells, m.of(a, says))
	}
	return cells
}

// scenarioTable has every figure of a scenario.
func (r *Report) scenarioTable(m markup, points []*result.Point) table.Writer {
	header := []string{""}
	for _, a := range r.variants {
		header = append(header, m.text(a))
	}
	var left []int
	if r.judges() {
		left = append(left, len(header))
		header = append(header, noiseHeader)
	}
	t := newTable(header, left...)
	t.Style().HTML.CSSClass = "figures all"
	for _, p := range points {
		if len(points) > 1 {
			t.AppendRow(append(table.Row{m.mark("point", p.Name)}, make(table.Row, len(r.variants))...))
		}
		for _, metric := range p.Metrics() {
			row := append(table.Row{m.text(metric.Name)}, r.cells(m, p, metric)...)
			if says := r.beyondNoise(p, metric); says != "" {
				row = append(row, m.of(noiseHeader, m.text(says)))
			}
			t.AppendRow(row)
		}
		t.AppendRow(append(table.Row{m.text("what bounded it")}, r.each(m, p, func(s []*result.Sample) string {
			return m.mark("bound", boundSays(commonest(s)))
		})...))
		t.AppendRow(append(table.Row{m.text("deliveries, all runs")}, r.each(m, p, func(s []*result.Sample) string {
			return deliveries(m, s)
		})...))
		t.AppendRow(append(table.Row{m.text("busy CPUs: server, load, Redis, publisher, others")}, r.each(m, p, func(s []*result.Sample) string {
			return m.mark("bound", busy(s))
		})...))
	}
	return t
}

func (r *Report) each(m markup, p *result.Point, say func([]*result.Sample) string) (cells table.Row) {
	for _, a := range r.variants {
		says := "-"
		if s := p.Samples(a); len(s) > 0 {
			says = say(s)
		}
		cells = append(cells, m.of(a, says))
	}
	return cells
}

// deliveries are what was due and what became of it.
func deliveries(m markup, samples []*result.Sample) string {
	var due, delivered, lost, duplicated, reordered int64
	for _, s := range samples {
		due += s.Expected
		delivered += s.Counters.Delivered
		lost += s.Missing()
		duplicated += s.Counters.Duplicated
		reordered += s.Counters.Reordered
	}
	says := m.text(thousands(fmt.Sprint(delivered)))
	for _, c := range []struct {
		n    int64
		what string
	}{{lost, "lost"}, {duplicated, "duplicated"}, {reordered, "reordered"}} {
		if c.n > 0 {
			says += "\n" + m.mark("loss", thousands(fmt.Sprint(c.n))+" "+c.what)
		}
	}
	if lost+duplicated+reordered == 0 && due > 0 {
		says += " " + m.mark("range", "none lost")
	}
	return says
}

func busy(samples []*result.Sample) string {
	var server, load, redis, compare, others []float64
	for _, s := range samples {
		server, load = append(server, s.Use.Server), append(load, s.Use.Load)
		redis, compare = append(redis, s.Use.Redis), append(compare, s.Use.Compare)
		others = append(others, s.Use.Others)
	}
	var parts []string
	for _, v := range [][]float64{server, load, redis, compare, others} {
		parts = append(parts, fmt.Sprintf("%.2f", result.FigureOf(v).Median))
	}
	return strings.Join(parts, ", ")
}

// how explains the tables.
func (r *Report) how() string {
	s := fmt.Sprintf("Median (range) of up to %s.", count(r.repeats(), "run"))
	if len(r.variants) > 1 {
		s += fmt.Sprintf(" Below it: against %s.", r.base())
	}
	return s
}

func (r *Report) repeats() (most int) {
	for i := range r.folder.Samples {
		most = max(most, r.folder.Samples[i].Repeat)
	}
	return most
}

// markdown writes the tables for documents.
func (r *Report) markdown(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.alarms() {
		b.WriteString("**" + s + "**\n\n")
	}
	oneLine := func(t table.Writer) string { return strings.ReplaceAll(t.RenderMarkdown(), "<br/>", "<br>") }
	b.WriteString(oneLine(r.headTable(plain)) + "\n\n" + r.how() + "\n")
	if l := r.ledger(); l != nil {
		b.WriteString("\nBytes of one connection:\n\n" + oneLine(l.table(plain)) +
			"\n\nProjected to " + thousands(fmt.Sprint(result.ArticleConnections)) + " connections:\n\n" + oneLine(l.projection(plain)) + "\n")
	}
	for _, l := range r.losses() {
		b.WriteString("\n" + l.title() + "\n\n")
		for _, s := range l.says() {
			b.WriteString("- " + s + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
