package report

import (
	_ "embed" // the page and its style sheet
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed page.tmpl
var pageText string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// styleSheet is the page's, with the colours of the charts.
func styleSheet() template.CSS {
	return template.CSS(strings.NewReplacer("/*day*/", variables(false), "/*night*/", variables(true)).Replace(pageStyle))
}

// page writes the page: one file that asks for nothing else and runs no script.
func (c *content) page(w io.Writer) error {
	if err := pageTemplate.Execute(w, c); err != nil {
		return fmt.Errorf("report: write page: %w", err)
	}
	return nil
}
