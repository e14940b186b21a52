package idiomatic

import (
	"sync"

	"github.com/tandem-ws/tandem/modes"
)

// memoryBus is a bus without Redis: what is published is delivered at once.
type memoryBus struct {
	mu         sync.Mutex
	receiver   modes.Receiver
	references map[string]int
	fail       error
	done       sync.WaitGroup
}

func newMemoryBus() *memoryBus { return &memoryBus{references: make(map[string]int)} }

func (b *memoryBus) Start(r modes.Receiver) error {
	b.receiver = r
	return nil
}

func (b *memoryBus) Close() { b.done.Wait() }

func (b *memoryBus) Subscribe(channel string, done func(error)) {
	b.mu.Lock()
	fail := b.fail
	if fail == nil {
		b.references[channel]++
	}
	b.mu.Unlock()
	b.done.Go(func() { done(fail) })
}

func (b *memoryBus) Stats() modes.BusStats { return modes.BusStats{} }

func (b *memoryBus) Ready() error { return nil }

func (b *memoryBus) Unsubscribe(channel string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.references[channel]--; b.references[channel] == 0 {
		delete(b.references, channel)
	}
}

func (b *memoryBus) Publish(channel string, data []byte, done func(error)) {
	b.mu.Lock()
	fail, r := b.fail, b.receiver
	b.mu.Unlock()
	b.done.Go(func() {
		if fail == nil {
			r.Deliver(modes.Publication{Channel: []byte(channel), Data: data})
		}
		done(fail)
	})
}

// held returns how many references on channel are held; "": on all.
func (b *memoryBus) held(channel string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if channel != "" {
		return b.references[channel]
	}
	n := 0
	for _, held := range b.references {
		n += held
	}
	return n
}
