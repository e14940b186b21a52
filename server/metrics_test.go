package server

import (
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/tandem-ws/tandem/server/config"
)

// families scrapes as a Prometheus does that takes native histograms.
func (p *process) families() map[string]*dto.MetricFamily {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.internal+"/metrics", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	decoder := expfmt.NewDecoder(response.Body, expfmt.ResponseFormat(response.Header))
	families := make(map[string]*dto.MetricFamily)
	for {
		family := new(dto.MetricFamily)
		if err := decoder.Decode(family); err != nil {
			break
		}
		families[family.GetName()] = family
	}
	return families
}

// TestHistograms: each has been observed, with native and with classic buckets.
func TestHistograms(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "CLIENT_PUBLISH=true", "HEARTBEAT_INTERVAL=50ms")
		p.awaitReady(http.StatusOK, "ok")
		c := connect(t, p.public)
		c.subscribe("news")
		c.call("publish", `{"channel":"news","data":1}`)
		c.publication()
		raw := dial(t, "ws://"+p.public+"/ws?channel=news", nil)
		c.call("publish", `{"channel":"news","data":2}`)
		if _, _, err := raw.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		for name, least := range map[string]uint64{
			"tandem_publish_to_write_seconds": 2, "tandem_handshake_seconds": 2, "tandem_redis_heartbeat_seconds": 1,
		} {
			var histograms []*dto.Metric
			// A write is observed when it is done, and its client may be faster.
			await(t, name, func() bool {
				histograms = p.families()[name].GetMetric()
				for _, h := range histograms {
					if h.GetHistogram().GetSampleCount() < least {
						return false
					}
				}
				return len(histograms) > 0
			})
			for _, m := range histograms {
				h := m.GetHistogram()
				if len(h.GetPositiveSpan()) == 0 || h.GetSampleSum() <= 0 {
					t.Errorf("%s has no native buckets: %v", name, h)
				}
				if buckets := h.GetBucket(); len(buckets) < 10 || buckets[len(buckets)-1].GetCumulativeCount() == 0 {
					t.Errorf("%s has no classic buckets: %v", name, h)
				}
			}
		}
		await(t, "heartbeats of the link that subscribes and of the one that publishes", func() bool {
			return len(p.families()["tandem_redis_heartbeat_seconds"].GetMetric()) == 2
		})
		if _, metrics := p.get("/metrics"); !strings.Contains(metrics, `tandem_publish_to_write_seconds_bucket{le="0.001"}`) {
			t.Error("the text format has no classic buckets")
		}
		own := p.families()["tandem_loop_busy_seconds_total"]
		if strings.HasSuffix(mode, config.Idiomatic) {
			if own != nil {
				t.Error("the idiomatic mode has event loops")
			}
			return
		}
		var busy float64
		for _, loop := range own.GetMetric() {
			busy += loop.GetCounter().GetValue()
		}
		if busy <= 0 {
			t.Errorf("the loops were busy for %v s", busy)
		}
		for _, name := range []string{"tandem_loop_waiting_publications", "tandem_workers_running", "tandem_workers_waiting"} {
			if len(p.families()[name].GetMetric()) == 0 {
				t.Errorf("there is no %s", name)
			}
		}
	})
}
