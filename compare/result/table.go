package result

import (
	"cmp"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tandem-ws/tandem/compare/load"
)

// Point holds the samples of all variants at one point of a scenario.
type Point struct {
	Scenario string
	Name     string
	X        float64
	samples  map[string][]*Sample // by variant
}

// Points returns all points of a folder, in the order of the manifest's scenarios and
// of X.
func (f *Folder) Points() []*Point {
	order := make(map[string]int)
	for i, s := range f.Manifest.Scenarios {
		order[s.Name] = i
	}
	type key struct{ scenario, point string }
	found := make(map[key]*Point)
	var points []*Point
	for i := range f.Samples {
		s := &f.Samples[i]
		k := key{s.Scenario, s.Point}
		p := found[k]
		if p == nil {
			p = &Point{Scenario: s.Scenario, Name: s.Point, X: s.X, samples: map[string][]*Sample{}}
			found[k] = p
			points = append(points, p)
		}
		p.samples[s.Variant] = append(p.samples[s.Variant], s)
	}
	slices.SortStableFunc(points, func(a, b *Point) int {
		return cmp.Or(cmp.Compare(order[a.Scenario], order[b.Scenario]), cmp.Compare(a.X, b.X))
	})
	return points
}

// Samples returns those of one variant.
func (p *Point) Samples(variant string) []*Sample { return p.samples[variant] }

// Figure returns a variant's figure of a metric.
func (p *Point) Figure(variant, metric string) Figure {
	var values []float64
	unsound := 0
	for _, s := range p.samples[variant] {
		if v, ok := s.Values[metric]; ok {
			values = append(values, v)
			if !s.Sound() {
				unsound++
			}
		}
	}
	f := FigureOf(values)
	f.Unsound = unsound
	return f
}

// Metrics returns the metrics that any variant has a value of, in the order of
// Metrics.
func (p *Point) Metrics() []Metric {
	have := make(map[string]bool)
	for _, samples := range p.samples {
		for _, s := range samples {
			for id := range s.Values {
				have[id] = true
			}
		}
	}
	var list []Metric
	for _, m := range Metrics {
		if have[m.ID] {
			list = append(list, m)
			delete(have, m.ID)
		}
	}
	var unknown []string
	for id := range have {
		unknown = append(unknown, id)
	}
	slices.Sort(unknown)
	for _, id := range unknown {
		list = append(list, MetricOf(id))
	}
	return list
}

// Latency merges the latencies of all repeats of a variant. It returns nil if there
// are none.
func (p *Point) Latency(variant string) (*hdrhistogram.Histogram, error) {
	var parts []load.Histogram
	for _, s := range p.samples[variant] {
		if s.Latency != "" {
			parts = append(parts, s.Latency)
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	h, err := load.Merge(parts...)
	if err != nil || h.TotalCount() == 0 {
		return nil, err
	}
	return h, nil
}

// VariantNames returns the variants of the manifest that have any sample.
func (f *Folder) VariantNames() []string {
	have := make(map[string]bool)
	for i := range f.Samples {
		have[f.Samples[i].Variant] = true
	}
	var names []string
	for _, a := range f.Manifest.Variants {
		if have[a.Name] {
			names = append(names, a.Name)
		}
	}
	return names
}
