package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-ws/tandem/server/version"
)

// buildInfo is the metric that names the running Tandem and its mode.
func buildInfo(mode string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tandem_build_info",
		Help: "What runs: always 1.",
		ConstLabels: prometheus.Labels{
			"version": version.Version, "revision": version.Revision(), "mode": mode,
		},
	})
	g.Set(1)
	return g
}
