package idiomatic

import (
	"context"
	"sync"

	"github.com/tandem-ws/tandem/modes"
)

// memoryBus is a bus without Redis: what is published is delivered at once.
type memoryBus struct {
	mu         sync.Mutex
	receiver   modes.Receiver
	references map[string]int
	hold       chan struct{} // Subscribe waits until it is closed; nil: it does not
	waiting    chan string   // gets each channel that waits
	fail       error
	done       sync.WaitGroup
}

func newMemoryBus() *memoryBus {
	return &memoryBus{references: make(map[string]int), waiting: make(chan string, 1024)}
}

func (b *memoryBus) Subscribe(ctx context.Context, channel string) error {
	b.mu.Lock()
	hold := b.hold
	b.mu.Unlock()
	if hold != nil {
		b.waiting <- channel
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.references[channel]++
	return nil
}

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
			r.Deliver([]byte(channel), data)
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
