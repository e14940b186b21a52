package report

import (
	"fmt"
	"math"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/tandem-ws/tandem/compare/result"
)

// ledger is the point that has the ledger's items.
type ledger struct {
	r     *Report
	point *result.Point
}

// ledger is nil where it was not measured.
func (r *Report) ledger() *ledger {
	points := r.of(result.LedgerScenario)
	if len(points) == 0 {
		return nil
	}
	return &ledger{r, points[len(points)-1]}
}

// articleBytes is a figure of the article.
func articleBytes(v float64) string {
	if v == 0 {
		return "-"
	}
	return amount(v, "B")
}

// table has an item a row: the article's figure, and that of each variant.
func (l *ledger) table(m markup) table.Writer {
	header := []string{"", "the article"}
	for _, a := range l.r.variants {
		header = append(header, m.text(a))
	}
	t := newTable(header)
	t.Style().HTML.CSSClass = "figures ledger"
	for _, item := range result.Ledger {
		metric := result.MetricOf(item.ID)
		name := m.row(item.Name, "")
		if m == page {
			name = m.row(item.Name, item.About)
		}
		if item.ID == result.LedgerTotal {
			t.AppendSeparator()
			name = m.mark("total", item.Name)
			if m == page {
				name += "\n" + m.mark("note", item.About)
			}
		}
		row := table.Row{name, m.of("the article", articleBytes(item.Article))}
		for _, a := range l.r.variants {
			row = append(row, m.of(a, m.figure(l.point.Figure(a, item.ID), metric)))
		}
		t.AppendRow(row)
	}
	return t
}

// total is what a variant's connection holds, in user memory and in the kernel. The
// fine heap profile that the ledger is made of costs memory itself, so that the
// slope of the idle scenario is taken if there is one.
func (l *ledger) total(variant string) (user, kernel float64) {
	user, kernel = l.point.Figure(variant, result.LedgerTotal).Median, l.point.Figure(variant, result.LedgerKernel).Median
	if p := l.idle(); p != nil {
		if f := p.Figure(variant, result.PerConnection); f.Have() {
			user = f.Median
		}
		if f := p.Figure(variant, result.Kernel); f.Have() {
			kernel = f.Median / 2 // both ends are on one host
		}
	}
	return user, kernel
}

// idle is the point of the idle scenario that has slopes, nil without one.
func (l *ledger) idle() *result.Point {
	for _, p := range l.r.of("idle") {
		if p.Figure(l.r.base(), result.PerConnection).Have() {
			return p
		}
	}
	return nil
}

// projection is what the article's number of connections would hold.
func (l *ledger) projection(m markup) table.Writer {
	header := []string{"", "the article"}
	for _, a := range l.r.variants {
		header = append(header, m.text(a))
	}
	t := newTable(header)
	t.Style().HTML.CSSClass = "figures ledger"
	const n = result.ArticleConnections
	article := 0.0
	for _, item := range result.Ledger {
		if item.ID == result.LedgerTotal {
			article = item.Article
		}
	}
	user, kernel := table.Row{"user memory", m.of("the article", amount(article*n, "B"))}, table.Row{"kernel, server's end", m.of("the article", "-")}
	sum, share := table.Row{m.mark("total", "together"), m.of("the article", "-")}, table.Row{"kernel's share", m.of("the article", "-")}
	for _, a := range l.r.variants {
		u, k := l.total(a)
		part := "-"
		if s := k / (u + k); !math.IsNaN(s) && s > 0 {
			part = fmt.Sprintf("%.0f%%", s*100)
		}
		user, kernel = append(user, m.of(a, times(u))), append(kernel, m.of(a, times(k)))
		sum, share = append(sum, m.of(a, m.mark("median", times(u+k)))), append(share, m.of(a, part))
	}
	t.AppendRows([]table.Row{user, kernel, sum, share})
	return t
}

// times is what so many bytes a connection come to.
func times(each float64) string {
	if math.IsNaN(each) {
		return "-"
	}
	return amount(each*result.ArticleConnections, "B")
}

// projected says what the projection is made of.
func (l *ledger) projected() string {
	if l.idle() != nil {
		return "The growth that the idle scenario measured, without the cost of profiling, multiplied: what that many idle connections would hold."
	}
	return "The growth above, multiplied: what that many idle connections would hold."
}
