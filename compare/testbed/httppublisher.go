package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/variant"
	"github.com/tandem-ws/tandem/compare/workload"
)

// httpPublisher publishes through a server's HTTP API, one message after another, so
// that their order is defined.
type httpPublisher struct {
	api, key string
	channel  string
	sent     []uint32
	turn     int
	client   *http.Client
	random   *rand.Rand
}

func newHTTPPublisher(e *variant.External, channel string, channels int, after []uint32) *httpPublisher {
	if !strings.Contains(channel, "%d") {
		channels = 1
	}
	p := &httpPublisher{
		api: e.API, key: e.Key, channel: e.Prefix + channel, sent: make([]uint32, channels),
		random: rand.New(rand.NewPCG(1, 2)), // the same channels in every repeat
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}},
	}
	copy(p.sent, after)
	return p
}

// Sent implements Publisher.
func (p *httpPublisher) Sent() []uint32 { return append([]uint32(nil), p.sent...) }

// Close implements Publisher.
func (p *httpPublisher) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

// Publish implements Publisher. The end of ctx is not an error.
func (p *httpPublisher) Publish(ctx context.Context, plan workload.Plan) (workload.Result, error) {
	count := plan.Count
	if plan.Duration > 0 && plan.Rate > 0 {
		if n := int(plan.Duration.Seconds() * plan.Rate); count == 0 || n < count {
			count = n
		}
	}
	began := time.Now()
	result := workload.Result{Began: began}
	for ; result.Sent < count; result.Sent++ {
		intended := began
		if plan.Rate > 0 {
			intended = began.Add(time.Duration(float64(result.Sent) / plan.Rate * 1e9))
		}
		timer := time.NewTimer(time.Until(intended))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			result.Took = time.Since(began)
			return result, nil
		}
		result.Late = max(result.Late, time.Since(intended))
		if err := p.one(ctx, plan, intended); err != nil {
			return result, err
		}
	}
	result.Took = time.Since(began)
	result.Bytes = int64(result.Sent) * int64(plan.Size)
	return result, nil
}

func (p *httpPublisher) one(ctx context.Context, plan workload.Plan, intended time.Time) error {
	i := p.turn % len(p.sent)
	if p.turn++; plan.Order == workload.Random {
		i = p.random.IntN(len(p.sent))
	}
	channel := strings.ReplaceAll(p.channel, "%d", strconv.Itoa(i))
	body, err := json.Marshal(struct {
		Channel string          `json:"channel"`
		Data    json.RawMessage `json:"data"`
	}{channel, workload.AppendMessage(nil, workload.Message{Sequence: p.sent[i] + 1, Channel: uint32(i), Time: intended.UnixNano()}, plan.Size)})
	if err != nil {
		return fmt.Errorf("%w: encode publication: %w", ErrRun, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.api, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrRun, p.api, err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", p.key)
	response, err := p.client.Do(request)
	if err != nil {
		return fmt.Errorf("%w: publish through %s: %w", ErrRun, p.api, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("%w: publish through %s: %w", ErrRun, p.api, err)
	}
	if response.StatusCode != http.StatusOK || bytes.Contains(answer, []byte(`"error"`)) {
		return fmt.Errorf("%w: publish through %s answered %s: %.120s", ErrRun, p.api, response.Status, bytes.TrimSpace(answer))
	}
	p.sent[i]++
	return nil
}
