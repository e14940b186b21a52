package report

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/result"
)

// Names of what Write writes beside result.ReportFile.
const (
	TableFile   = "table.md"
	PictureFile = "picture.svg"
	DarkFile    = "picture-dark.svg"
	PixelFile   = "picture.png"
	ChartsDir   = "charts"
)

// Report is a results folder that has been read and checked. It may be used by one
// goroutine at a time.
type Report struct {
	folder   *result.Folder
	points   []*result.Point
	variants []string
	tones    map[string]tone // of variants
}

// Load reads a folder. Errors are result.ErrFolder and name the file that is damaged.
func Load(path string) (*Report, error) {
	folder, err := result.Read(path)
	if err != nil {
		return nil, err
	}
	r := &Report{folder: folder, points: folder.Points(), variants: folder.VariantNames()}
	if err := r.check(); err != nil {
		return nil, err
	}
	var names []string
	for _, a := range folder.Manifest.Variants {
		names = append(names, a.Name)
	}
	r.tones = tonesOf(names)
	return r, nil
}

// check finds damage that would make incomplete figures look complete.
func (r *Report) check() error {
	bad := func(i int, format string, a ...any) error {
		return fmt.Errorf("%w: %s/%s: sample %d: %s: the folder is damaged", result.ErrFolder, r.folder.Path, result.SamplesFile, i+1, fmt.Sprintf(format, a...))
	}
	type key struct {
		variant, scenario, point string
		repeat                   int
	}
	seen := make(map[key]bool)
	for i := range r.folder.Samples {
		s := &r.folder.Samples[i]
		k := key{s.Variant, s.Scenario, s.Point, s.Repeat}
		switch {
		case s.Variant == "" || s.Scenario == "":
			return bad(i, "it names no variant or no scenario")
		case !slices.Contains(r.variants, s.Variant):
			return bad(i, "%s does not know its variant %q", result.ManifestFile, s.Variant)
		case !slices.ContainsFunc(r.folder.Manifest.Scenarios, func(m result.Scenario) bool { return m.Name == s.Scenario }):
			return bad(i, "%s does not know its scenario %q", result.ManifestFile, s.Scenario)
		case len(s.Values) == 0:
			return bad(i, "it has no figures")
		case seen[k]:
			return bad(i, "%s of %s, repeat %d, is there twice", s.Name(), s.Variant, s.Repeat)
		}
		seen[k] = true
		for _, h := range []load.Histogram{s.Latency, s.ConnectTime} {
			if h == "" {
				continue
			}
			if _, err := h.Decode(); err != nil {
				return bad(i, "its histogram cannot be read (%v)", err)
			}
		}
	}
	return nil
}

// base is the variant that others are compared with: the first.
func (r *Report) base() string { return r.variants[0] }

// of are the points of a scenario.
func (r *Report) of(scenario string) (points []*result.Point) {
	for _, p := range r.points {
		if p.Scenario == scenario {
			points = append(points, p)
		}
	}
	return points
}

// Write writes the page, the tables and all pictures into a folder and returns their
// paths, and the path of the folder of charts. It replaces what an earlier call wrote.
func (r *Report) Write(folder string) (files []string, err error) {
	var parts content
	if parts, err = r.content(); err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := parts.page(&page); err != nil {
		return nil, err
	}
	var tables bytes.Buffer
	if err := r.markdown(&tables); err != nil {
		return nil, err
	}
	picture, err := r.picture()
	if err != nil {
		return nil, err
	}
	write := func(name string, b []byte) {
		if err != nil {
			return
		}
		path := filepath.Join(folder, name)
		if err = os.WriteFile(path, b, 0o644); err != nil {
			err = fmt.Errorf("report: %w", err)
			return
		}
		files = append(files, path)
	}
	write(result.ReportFile, page.Bytes())
	write(TableFile, tables.Bytes())
	for _, p := range picture {
		write(p.name, p.bytes)
	}
	if err != nil {
		return nil, err
	}
	charts := filepath.Join(folder, ChartsDir)
	if err := os.RemoveAll(charts); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if err := os.MkdirAll(charts, 0o755); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	for _, c := range parts.charts() {
		b, err := c.standalone(light)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(charts, c.name+".svg"), b, 0o644); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
	}
	return append(files, charts), nil
}
