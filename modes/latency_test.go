package modes

import "testing"

func TestNow(t *testing.T) {
	i := Now()
	if i <= 0 {
		t.Errorf("now is %d, which stands for no instant", i)
	}
	if j := Now(); j < i || i.Seconds() < 0 {
		t.Errorf("%d comes after %d", j, i)
	}
}

// BenchmarkWriteLatency is what measuring costs a batch of publications.
func BenchmarkWriteLatency(b *testing.B) {
	stats := NewStats()
	b.ReportAllocs()
	for b.Loop() {
		stats.WriteLatency.Observe(Now().Seconds())
	}
}
