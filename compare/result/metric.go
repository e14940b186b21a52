package result

// Metric describes a figure.
type Metric struct {
	ID, Name, Unit string
	// More means that more is better, as for throughput.
	More bool
	// Plain figures are not judged: neither more nor less is better.
	Plain bool
	// Floor is the smallest difference that matters, in the metric's unit, however
	// small the noise is.
	Floor float64
}

// IDs of metrics that are used in several places.
const (
	PerConnection  = "pss_per_connection"
	PSS            = "pss"
	Heap           = "go_heap_per_connection"
	Stacks         = "go_stacks_per_connection"
	Kernel         = "kernel_per_connection"
	SocketBuffers  = "socket_buffers"
	Goroutines     = "goroutines_per_connection"
	GCShare        = "gc_cpu_share"
	GCPause        = "gc_pause_max"
	ConnectCPU     = "cpu_us_per_connect"
	ConnectRate    = "connects_per_second"
	ConnectP50     = "connect_p50"
	ConnectP99     = "connect_p99"
	DeliveryCPU    = "cpu_us_per_delivery"
	DeliveryRate   = "deliveries_per_second"
	MessageCPU     = "cpu_us_per_message"
	P50            = "latency_p50"
	P99            = "latency_p99"
	P999           = "latency_p999"
	Max            = "latency_max"
	ReplaceCPU     = "cpu_us_per_replacement"
	Disconnected   = "disconnected_slow"
	Growth         = "pss_growth"
	Recovery       = "recovery_seconds"
	Kept           = "connections_kept"
	RecoveryCPU    = "cpu_us_per_resubscribe"
	LostPerClient  = "lost_per_connection"
	GoroutinesLeft = "goroutines_left"
)

// Metrics lists all metrics in the order in which they are shown.
var Metrics = append([]Metric{
	{ID: PerConnection, Name: "memory per connection (PSS slope)", Unit: "B", Floor: 16},
	{ID: Heap, Name: "of it Go heap in use", Unit: "B", Floor: 16},
	{ID: Stacks, Name: "of it goroutine stacks", Unit: "B", Floor: 16},
	{ID: Goroutines, Name: "goroutines per connection", Unit: "", Floor: 0.01},
	{ID: Kernel, Name: "kernel memory per connection, both ends", Unit: "B", Plain: true},
	{ID: PSS, Name: "memory of the process (PSS)", Unit: "MB", Floor: 0.5},
	{ID: SocketBuffers, Name: "kernel socket buffers in use", Unit: "MB", Plain: true},
	{ID: ConnectCPU, Name: "CPU per connect and subscribe", Unit: "µs"},
	{ID: ConnectRate, Name: "connects a second", Unit: "/s", More: true},
	{ID: ConnectP50, Name: "connect time p50", Unit: "ms", Floor: 0.05},
	{ID: ConnectP99, Name: "connect time p99", Unit: "ms", Floor: 0.1},
	{ID: DeliveryCPU, Name: "CPU per delivered message", Unit: "µs"},
	{ID: MessageCPU, Name: "CPU per message end to end", Unit: "µs"},
	{ID: ReplaceCPU, Name: "CPU per replaced connection", Unit: "µs"},
	{ID: DeliveryRate, Name: "deliveries a second", Unit: "/s", More: true},
	{ID: P50, Name: "latency p50", Unit: "ms", Floor: 0.05},
	{ID: P99, Name: "latency p99", Unit: "ms", Floor: 0.1},
	{ID: P999, Name: "latency p99.9", Unit: "ms", Floor: 0.2},
	{ID: Max, Name: "latency max", Unit: "ms", Plain: true},
	{ID: Recovery, Name: "until all receive again", Unit: "s", Floor: 0.1},
	{ID: Kept, Name: "connections kept", Unit: "%", More: true},
	{ID: LostPerClient, Name: "messages missed per connection", Unit: "", Floor: 1},
	{ID: RecoveryCPU, Name: "CPU per connection for the recovery", Unit: "µs"},
	{ID: Disconnected, Name: "frozen connections disconnected", Unit: "%", More: true},
	{ID: Growth, Name: "memory growth (PSS)", Unit: "MB", Floor: 1},
	{ID: GoroutinesLeft, Name: "goroutines left behind", Unit: "", Floor: 5},
	{ID: GCShare, Name: "CPU share of garbage collection", Unit: "%", Floor: 0.5},
	{ID: GCPause, Name: "longest stop for garbage collection", Unit: "ms", Plain: true},
}, ledgerMetrics()...)

// MetricOf returns the metric with that id. An unknown one is shown as it is.
func MetricOf(id string) Metric {
	for _, m := range Metrics {
		if m.ID == id {
			return m
		}
	}
	return Metric{ID: id, Name: id, Plain: true}
}
