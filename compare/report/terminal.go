package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tandem-ws/tandem/compare/result"
)

// Table writes the leading figures, the measurements that are not sound, and what
// the favorite loses, as plain text for a terminal with so many columns.
func (r *Report) Table(w io.Writer, columns int) error {
	var b strings.Builder
	for _, s := range r.alarms() {
		b.WriteString("! " + s + "\n")
	}
	for _, t := range r.troubles() {
		fmt.Fprintf(&b, "  %s: %s, %s, run %s: %s\n", t.Kind, t.Variant, t.Scenario, t.Runs, t.Why)
	}
	figures := r.sideBySide()
	if widest(figures) > columns {
		figures = r.stacked(columns)
	}
	b.WriteString("\n" + figures + "\n" + r.how() + "\n")
	for _, l := range r.losses() {
		b.WriteString("\n" + l.title() + "\n")
		for _, s := range l.says() {
			b.WriteString("  " + s + "\n")
		}
	}
	_, err := io.WriteString(w, wrap(b.String(), columns))
	return err
}

// sideBySide is a table with a column for each variant.
func (r *Report) sideBySide() string {
	t := r.headTable(plain)
	narrow := []table.ColumnConfig{
		{Number: 1, WidthMax: 18}, {Number: 2, WidthMax: 20},
		{Number: 3 + len(r.variants), WidthMax: 20}, {Number: 4 + len(r.variants), WidthMax: 20},
	}
	for i := range r.variants {
		narrow = append(narrow, table.ColumnConfig{Number: 3 + i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	for i := range narrow {
		narrow[i].WidthMaxEnforcer = text.WrapSoft
	}
	t.SetColumnConfigs(narrow)
	return t.Render()
}

// stacked is the same with a line for each variant: it fits narrow terminals.
func (r *Report) stacked(columns int) string {
	var b strings.Builder
	name := 0
	for _, a := range r.variants {
		name = max(name, text.StringWidth(a))
	}
	for _, p := range r.points {
		if p.Scenario == result.LedgerScenario || len(leading(p)) == 0 {
			continue // the ledger has a table of its own
		}
		title := plain.row(r.folder.Manifest.ScenarioOf(p.Scenario).Title, p.Name)
		fmt.Fprintf(&b, "%s\n%s\n", title, strings.Repeat("─", min(columns, text.StringWidth(title))))
		for _, metric := range leading(p) {
			fmt.Fprintf(&b, "%s\n", metric.Name)
			base := p.Figure(r.base(), metric.ID)
			for _, a := range r.variants {
				f := p.Figure(a, metric.ID)
				line := fmt.Sprintf("  %-*s  %s", name, a, strings.ReplaceAll(plain.figure(f, metric), "\n", " "))
				if a != r.base() {
					if j := judge(metric, base, f); j.says != "" {
						line = beside(line, j.says, name+32, columns)
					}
				}
				b.WriteString(line + "\n")
			}
			if says := r.beyondNoise(p, metric); says != "" {
				fmt.Fprintf(&b, "  %s: %s\n", noiseHeader, says)
			}
		}
		fmt.Fprintf(&b, "what bounded it: %s\n\n", strings.ReplaceAll(r.bound(p), "\n", " "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// beside puts says into the column at of line, or below it if there is no room.
func beside(line, says string, at, columns int) string {
	gap := max(at-text.StringWidth(line), 2)
	if text.StringWidth(line)+gap+text.StringWidth(says) > columns {
		return line + "\n" + strings.Repeat(" ", 6) + says
	}
	return line + strings.Repeat(" ", gap) + says
}

func widest(s string) (n int) {
	for line := range strings.SplitSeq(s, "\n") {
		n = max(n, text.StringWidth(line))
	}
	return n
}

// wrap breaks lines that are longer than so many columns, and indents what
// follows.
func wrap(s string, columns int) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if text.StringWidth(line) <= columns {
			continue
		}
		indent := strings.Repeat(" ", len(line)-len(strings.TrimLeft(line, " "))+2)
		first, rest, _ := strings.Cut(text.WrapSoft(line, columns), "\n")
		lines[i] = strings.TrimRight(first, " ")
		if rest = strings.Join(strings.Fields(rest), " "); rest == "" {
			continue
		}
		for part := range strings.SplitSeq(text.WrapSoft(rest, max(columns-len(indent), 10)), "\n") {
			lines[i] += "\n" + indent + strings.TrimSpace(part)
		}
	}
	return strings.Join(lines, "\n")
}

// fit renders a table of changes: its first column gets what the others leave.
func fit(t table.Writer, columns int) string {
	rendered := t.Render()
	if widest(rendered) > columns {
		t.SetColumnConfigs([]table.ColumnConfig{
			{Number: 1, WidthMax: 19, WidthMaxEnforcer: text.WrapSoft},
			{Number: 2, WidthMax: 9, WidthMaxEnforcer: text.WrapText},
			{Number: 3, WidthMax: 9, WidthMaxEnforcer: text.WrapSoft, Align: text.AlignRight},
			{Number: 4, WidthMax: 9, WidthMaxEnforcer: text.WrapSoft, Align: text.AlignRight},
			{Number: 5, WidthMax: 6, WidthMaxEnforcer: text.WrapSoft, Align: text.AlignRight},
			{Number: 6, WidthMax: 5, WidthMaxEnforcer: text.WrapSoft, Align: text.AlignRight},
			{Number: 7, WidthMax: 6, WidthMaxEnforcer: text.WrapSoft},
		})
		t.Style().Box.PaddingLeft, t.Style().Box.PaddingRight = "", " "
		rendered = t.Render()
	}
	return rendered
}
