package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// historySize is how many samples a page receives when it opens.
const historySize = 180

// maxReaders bounds how many pages can be open.
const maxReaders = 32

var errReaders = errors.New("live: too many pages are open")

// event is one server-sent event.
type event struct {
	name string
	data []byte // JSON
}

// reader receives events. One that does not keep up misses samples and continues with
// the next one, so figures are never older than they claim.
type reader chan event

// feed sends samples to every open page and keeps the last ones. Its methods may be
// called by several goroutines.
type feed struct {
	about About

	mu      sync.Mutex // guards what follows
	history []json.RawMessage
	readers map[reader]bool
	end     *event // the last event, once there is one
}

func newFeed(about About) *feed {
	return &feed{about: about, history: []json.RawMessage{}, readers: map[reader]bool{}}
}

// About is what a page is told when it opens.
type About struct {
	Variants []string `json:"variants"`
	Bounds   Bounds   `json:"bounds"`
	CPUs     int      `json:"cpus"`
	Placing  string   `json:"placing"`
	Redis    string   `json:"redis"`
	Started  int64    `json:"started"` // milliseconds since 1970
}

// hello is the first event of every page.
type hello struct {
	About
	Settings Settings          `json:"settings"`
	History  []json.RawMessage `json:"history"`
}

// Ended is the last event: why there are no more figures.
type Ended struct {
	// Variant is the index of the variant that died, or -1.
	Variant int    `json:"variant"`
	Reason  string `json:"reason"`
}

// open adds a reader, whose first event is a hello. The caller closes it with close.
// After the end, the reader gets only the last event, and its channel is closed.
func (f *feed) open(s Settings) (reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.readers) >= maxReaders {
		return nil, errReaders
	}
	data, err := json.Marshal(hello{About: f.about, Settings: s, History: f.history})
	if err != nil {
		return nil, fmt.Errorf("live: encode: %w", err)
	}
	r := make(reader, 8)
	r <- event{"hello", data}
	if f.end != nil {
		r <- *f.end
		close(r)
		return r, nil
	}
	f.readers[r] = true
	return r, nil
}

func (f *feed) close(r reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
}

// put sends a sample.
func (f *feed) put(s Sample) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("live: encode: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history = append(f.history, data)
	f.history = f.history[max(0, len(f.history)-historySize):]
	for r := range f.readers {
		select {
		case r <- event{"sample", data}:
		default:
		}
	}
	return nil
}

// finish sends the last event to every reader and closes them all.
func (f *feed) finish(e Ended) {
	// two plain fields can always be encoded
	data, _ := json.Marshal(e)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.end != nil {
		return
	}
	f.end = &event{"ended", data}
	for r := range f.readers {
		for full := true; full; {
			select {
			case r <- *f.end:
				full = false
			default:
				select {
				case <-r: // the end matters more than an old sample
				default:
				}
			}
		}
		close(r)
		delete(f.readers, r)
	}
}
