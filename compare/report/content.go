package report

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/result"
)

// content is everything that the page shows.
type content struct {
	Title    string
	Manifest *result.Manifest
	Variants []variantSays
	Base     string
	Alarms   []string
	Tiles    []tile
	Head     template.HTML
	How      string
	Losses   []lossSays
	Sections []section
	Ledger   *ledgerSays
	Troubles []trouble
	Style    template.CSS
	Facts    []fact
	Settings []fact
	Runs     int
}

type variantSays struct {
	Name, Says string
	Tone       int
}

// tile is one sentence of the summary.
type tile struct {
	What    string
	Ratio   string // how the favourite variant stands to the first
	Class   string
	Figures []variantSays
}

type lossSays struct {
	Title string
	Lines []string
	None  bool
}

// section is a scenario.
type section struct {
	ID, Title, Shows, Load, Env string
	Table                       template.HTML
	Charts                      []*chart
	Notes                       []string
}

type ledgerSays struct {
	section
	Projection template.HTML
	Projected  string // from what
}

type fact struct{ Name, Value string }

// SVG is the chart as it stands in the page.
func (c *chart) SVG() (template.HTML, error) {
	b, err := c.inline()
	return template.HTML(b), err
}

// Wide says that the chart needs the width of two.
func (c *chart) Wide() bool { return c.width > chartWidth }

// charts are all charts of the page.
func (c *content) charts() (all []*chart) {
	for _, s := range c.Sections {
		all = append(all, s.Charts...)
	}
	if c.Ledger != nil {
		all = append(all, c.Ledger.Charts...)
	}
	return all
}

func (r *Report) content() (content, error) {
	m := &r.folder.Manifest
	c := content{
		Title: strings.Join(r.variants, ", "), Manifest: m, Base: r.base(), Alarms: r.alarms(), Tiles: r.tiles(),
		Head: template.HTML(r.headTable(page).RenderHTML()), How: r.how(), Troubles: r.troubles(),
		Style: styleSheet(), Facts: r.facts(), Settings: r.settings(), Runs: len(r.folder.Samples),
	}
	for _, a := range m.Variants {
		says := strings.Join(a.Env, " ")
		if a.External != "" {
			says = "external server at " + a.External
		}
		c.Variants = append(c.Variants, variantSays{a.Name, says, r.tones[a.Name].class})
	}
	for _, l := range r.losses() {
		c.Losses = append(c.Losses, lossSays{l.title(), l.says(), len(l.worse) == 0})
	}
	for _, s := range m.Scenarios {
		points := r.of(s.Name)
		if len(points) == 0 || s.Name == result.LedgerScenario {
			continue
		}
		one, err := r.section(s, points)
		if err != nil {
			return c, err
		}
		c.Sections = append(c.Sections, one)
	}
	if l := r.ledger(); l != nil {
		s := m.ScenarioOf(result.LedgerScenario)
		says := &ledgerSays{section: section{
			ID: s.Name, Title: s.Title, Shows: s.Shows, Load: s.Load, Env: strings.Join(s.Env, " "),
			Table: template.HTML(l.table(page).RenderHTML()), Notes: r.flaws([]*result.Point{l.point}),
		}, Projection: template.HTML(l.projection(page).RenderHTML()), Projected: l.projected()}
		drawn, err := l.chart()
		if err != nil {
			return c, err
		}
		if drawn != nil {
			says.Charts = append(says.Charts, drawn)
		}
		c.Ledger = says
	}
	return c, nil
}

// section is what is shown of a scenario.
func (r *Report) section(s result.Scenario, points []*result.Point) (section, error) {
	out := section{
		ID: s.Name, Title: s.Title, Shows: s.Shows, Load: s.Load, Env: strings.Join(s.Env, " "),
		Table: template.HTML(r.scenarioTable(page, points).RenderHTML()), Notes: r.flaws(points),
	}
	add := func(c *chart, err error) error {
		if c != nil {
			out.Charts = append(out.Charts, c)
		}
		return err
	}
	for _, metric := range overMetrics(points) {
		if err := add(r.overX(s.Name+"-"+metric.ID, points, metric, axis(s.Name))); err != nil {
			return out, err
		}
	}
	last := points[len(points)-1]
	for _, metric := range leading(last) {
		if slices.Contains(overMetrics(points), metric) {
			continue
		}
		if err := add(r.bars(s.Name+"-"+metric.ID, upper(metric.Name), last, metric)); err != nil {
			return out, err
		}
	}
	for i, p := range points {
		name, at := s.Name, ""
		if len(points) > 1 {
			name, at = fmt.Sprintf("%s-%d", s.Name, i+1), " at "+p.Name
		}
		if err := add(r.curve(name+"-latency", "Latency"+at, p.Latency)); err != nil {
			return out, err
		}
		if err := add(r.curve(name+"-connect", "Time to connect"+at, connectTime(p))); err != nil {
			return out, err
		}
	}
	return out, nil
}

// axis is what X counts in a scenario.
func axis(scenario string) string {
	if scenario == "idle" {
		return "connections"
	}
	return "messages a second"
}

// overMetrics are those of the leading ones, and of memory, that several points
// have.
func overMetrics(points []*result.Point) (list []result.Metric) {
	if len(points) < 2 {
		return nil
	}
	for _, m := range result.Metrics {
		n := 0
		for _, p := range points {
			if slices.Contains(p.Metrics(), m) && (m.ID == result.PSS || slices.Contains(leading(p), m)) {
				n++
			}
		}
		if n > 1 {
			list = append(list, m)
		}
	}
	return list
}

// connectTime merges the connect times of a variant's runs.
func connectTime(p *result.Point) func(variant string) (*hdrhistogram.Histogram, error) {
	return func(variant string) (*hdrhistogram.Histogram, error) {
		var parts []load.Histogram
		for _, s := range p.Samples(variant) {
			if s.ConnectTime != "" {
				parts = append(parts, s.ConnectTime)
			}
		}
		if len(parts) == 0 {
			return nil, nil
		}
		return load.Merge(parts...)
	}
}

// flaws of a scenario's runs, a line each.
func (r *Report) flaws(points []*result.Point) (lines []string) {
	for _, p := range points {
		for _, a := range r.variants {
			for _, s := range p.Samples(a) {
				if !s.Sound() {
					lines = append(lines, strings.TrimSpace(a+" "+p.Name)+fmt.Sprintf(", run %d: %s", s.Repeat, strings.Join(s.Flaws, "; ")))
				}
			}
		}
	}
	return lines
}

// summary are the figures of the tiles and of the picture: the last point of a
// scenario, and a metric of it.
var summary = []struct{ scenario, metric, what string }{
	{"idle", result.PerConnection, "memory of an idle connection"},
	{"broadcast", result.DeliveryCPU, "CPU of a delivery, broadcast"},
	{"burst", result.DeliveryCPU, "CPU of a delivery, burst"},
	{"storm", result.ConnectCPU, "CPU of a connect and subscribe"},
	{"channels", result.MessageCPU, "CPU of a message, many channels"},
	{"publish", result.MessageCPU, "CPU of a message, from a client"},
}

// shown is an entry of the summary that the folder has figures for.
type shown struct {
	what   string
	point  *result.Point
	metric result.Metric
}

func (r *Report) summary() (list []shown) {
	for _, s := range summary {
		points := r.of(s.scenario)
		if len(points) == 0 {
			continue
		}
		p := points[len(points)-1]
		for _, a := range r.variants {
			if p.Figure(a, s.metric).Have() {
				list = append(list, shown{s.what, p, result.MetricOf(s.metric)})
				break
			}
		}
	}
	return list
}

// compared is the variant that the tiles put beside the first: the favourite, or else
// the last.
func (r *Report) compared() string {
	if slices.Contains(r.variants, favorite) && r.base() != favorite {
		return favorite
	}
	return r.variants[len(r.variants)-1]
}

// ratio says how the compared variant stands to the first; "" where there is but one
// variant or figure.
func (r *Report) ratio(s shown) (says, class string) {
	other := r.compared()
	if other == r.base() {
		return "", ""
	}
	base, f := s.point.Figure(r.base(), s.metric.ID), s.point.Figure(other, s.metric.ID)
	j := judge(s.metric, base, f)
	switch {
	case j.class == "loss":
		return j.says, j.class
	case j.verdict == result.Noise:
		return "within the noise", j.class
	case j.verdict == result.None:
		return "", ""
	}
	return change(result.Ratio(base, f)), j.class
}

func (r *Report) tiles() (list []tile) {
	for _, s := range r.summary() {
		t := tile{What: s.what}
		t.Ratio, t.Class = r.ratio(s)
		for _, a := range r.variants {
			f := s.point.Figure(a, s.metric.ID)
			if !f.Have() {
				continue
			}
			t.Figures = append(t.Figures, variantSays{a, amount(f.Median, s.metric.Unit), r.tones[a].class})
		}
		list = append(list, t)
	}
	return list
}

// facts are the manifest, a line each.
func (r *Report) facts() (list []fact) {
	m := &r.folder.Manifest
	add := func(name, format string, a ...any) { list = append(list, fact{name, fmt.Sprintf(format, a...)}) }
	add("measured", "%s to %s", m.Started.UTC().Format("2006-01-02 15:04 MST"), m.Ended.UTC().Format("15:04 MST"))
	add("profile", "%s: %d of %d runs, up to %s of every variant in every scenario", m.Profile, m.Done, m.Planned, count(m.Repeats, "repeat"))
	add("order", "%s", m.Order)
	virtual := ""
	if m.Host.Virtual {
		virtual = ", a virtual machine"
	}
	add("host", "%s, %s, %s of memory%s", m.Host.CPU, count(m.Host.CPUs, "CPU"), amount(float64(m.Host.Memory), "B"), virtual)
	add("system", "%s %s, kernel %s", m.Host.OS, m.Host.Arch, m.Host.Kernel)
	add("CPUs", "%s", m.CPUs.Says)
	add("commit", "%s", m.Commit)
	add("server", "%s", m.Server)
	add("Go", "%s", m.Go)
	add("Redis", "%s", m.Redis.Version)
	add("open files", "%s a process", thousands(fmt.Sprint(m.Limits.Files)))
	return slices.DeleteFunc(list, func(f fact) bool { return strings.TrimSpace(f.Value) == "" })
}

func (r *Report) settings() (list []fact) {
	for name, v := range r.folder.Manifest.Limits.Settings {
		list = append(list, fact{name, v})
	}
	slices.SortFunc(list, func(a, b fact) int { return strings.Compare(a.Name, b.Name) })
	return list
}
