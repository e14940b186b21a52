package result

// LedgerScenario is the scenario whose values are the ledger's items.
const LedgerScenario = "ledger"

// Item is one line of the ledger: what a connection costs, in bytes.
type Item struct {
	ID, Name string
	// Article is the estimate of "A Million WebSockets and Go" (Sergey Kamardin,
	// Mail.Ru, 2017) for one of its 3 million connections; 0 means that it is not in
	// its sum.
	Article float64
	// About describes where the measured figure comes from.
	About string
}

// IDs of the ledger's items.
const (
	LedgerStacks   = "ledger_stacks"
	LedgerRead     = "ledger_read_buffer"
	LedgerWrite    = "ledger_write_buffer"
	LedgerHTTP     = "ledger_http"
	LedgerQueue    = "ledger_queue"
	LedgerRecord   = "ledger_connection"
	LedgerNet      = "ledger_net"
	LedgerSession  = "ledger_subscription"
	LedgerOther    = "ledger_other"
	LedgerHeadroom = "ledger_headroom"
	LedgerTotal    = "ledger_total"
	LedgerKernel   = "ledger_kernel"
)

// ArticleConnections is the number of connections in the article.
const ArticleConnections = 3_000_000

// Ledger lists what a connection costs. The items before LedgerTotal add up to it;
// LedgerKernel is separate.
var Ledger = []Item{
	{LedgerStacks, "goroutine stacks", 8 << 10, "article: a reader and a writer goroutine, 2 to 8 KB of stack each, 4 KB taken; measured: growth of stack memory in use"},
	{LedgerRead, "read buffer", 4 << 10, "article: bufio.Reader, 4 KB; measured: heap profile"},
	{LedgerWrite, "write buffer", 4 << 10, "article: bufio.Writer, 4 KB; measured: heap profile"},
	{LedgerHTTP, "net/http", 8 << 10, "article: the two 4 KB buffers that Hijack hands over, and the request; measured: heap profile"},
	{LedgerQueue, "send queue", 0, "heap profile: the bounded queue between hub and writer"},
	{LedgerRecord, "connection record", 0, "heap profile: the engine's own state of a connection, timers among it"},
	{LedgerNet, "net.Conn and poller", 0, "heap profile: package net and the runtime's poller"},
	{LedgerSession, "session and subscription", 0, "heap profile: protocol state, entry among the channel's subscribers"},
	{LedgerOther, "other heap", 0, "heap profile: all that no other line names"},
	{LedgerHeadroom, "runtime and garbage headroom", 0, "memory of the process less all lines above: garbage not yet collected, size classes, the runtime's own"},
	{LedgerTotal, "user memory", 24 << 10, "article: the sum; measured: growth of PSS"},
	{LedgerKernel, "kernel, server's end", 0, "half of the growth of the kernel's slab and socket memory, for both ends of a connection are on this host; not in the article's sum"},
}

func ledgerMetrics() []Metric {
	list := make([]Metric, 0, len(Ledger))
	for _, i := range Ledger {
		list = append(list, Metric{ID: i.ID, Name: i.Name, Unit: "B", Floor: 16, Plain: i.ID != LedgerTotal})
	}
	return list
}
