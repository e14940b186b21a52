package result

import (
	"cmp"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tandem-ws/tandem/compare/load"
)

// Point is one point of one scenario: what every arm has to show for it.
type Point struct {
	Scenario string
	Name     string
	X        float64
	samples  map[string][]*Sample // by arm
}

// Points are all points of a folder, in the order of the manifest's scenarios
// and of X.
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
		p.samples[s.Arm] = append(p.samples[s.Arm], s)
	}
	slices.SortStableFunc(points, func(a, b *Point) int {
		return cmp.Or(cmp.Compare(order[a.Scenario], order[b.Scenario]), cmp.Compare(a.X, b.X))
	})
	return points
}

// Samples are those of one arm.
func (p *Point) Samples(arm string) []*Sample { return p.samples[arm] }

// Figure is what an arm has for a metric.
func (p *Point) Figure(arm, metric string) Figure {
	var values []float64
	unsound := 0
	for _, s := range p.samples[arm] {
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

// Metrics are those that any arm has a value of, in the order of Metrics.
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

// Latency merges the latencies of all repeats of an arm; nil without any.
func (p *Point) Latency(arm string) (*hdrhistogram.Histogram, error) {
	var parts []load.Histogram
	for _, s := range p.samples[arm] {
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

// ArmNames are the arms of the manifest that have any sample.
func (f *Folder) ArmNames() []string {
	have := make(map[string]bool)
	for i := range f.Samples {
		have[f.Samples[i].Arm] = true
	}
	var names []string
	for _, a := range f.Manifest.Arms {
		if have[a.Name] {
			names = append(names, a.Name)
		}
	}
	return names
}
