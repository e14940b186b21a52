package result

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Names of the files in a folder.
const (
	ManifestFile = "manifest.json"
	SamplesFile  = "samples.jsonl"
	ReportFile   = "report.html"
)

// ErrFolder means that a folder cannot be used for results, or holds none that are
// usable.
var ErrFolder = errors.New("result: folder")

// Folder is a results folder that was read.
type Folder struct {
	Path     string
	Manifest Manifest
	Samples  []Sample
}

// Writer fills a new folder. It is used by one goroutine.
type Writer struct {
	path    string
	samples *os.File
}

// Create creates a folder, or uses one without results. The caller closes the Writer.
func Create(path string) (*Writer, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	f, err := os.OpenFile(filepath.Join(path, SamplesFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w: %s holds results already: choose another with -out", ErrFolder, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return &Writer{path: path, samples: f}, nil
}

// Path of the folder.
func (w *Writer) Path() string { return w.path }

// Append writes the samples of a finished run, all of them or none.
func (w *Writer) Append(samples []Sample) error {
	var lines []byte
	for i := range samples {
		line, err := json.Marshal(&samples[i])
		if err != nil {
			return fmt.Errorf("result: encode sample: %w", err)
		}
		lines = append(append(lines, line...), '\n')
	}
	if _, err := w.samples.Write(lines); err != nil {
		return fmt.Errorf("result: write samples: %w", err)
	}
	return nil
}

// Manifest writes the manifest, replacing an earlier one.
func (w *Writer) Manifest(m *Manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("result: encode manifest: %w", err)
	}
	// a reader never sees half a manifest
	path := filepath.Join(w.path, ManifestFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("result: write manifest: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("result: write manifest: %w", err)
	}
	return nil
}

// Close closes the folder's files.
func (w *Writer) Close() error {
	if err := w.samples.Close(); err != nil {
		return fmt.Errorf("result: close samples: %w", err)
	}
	return nil
}

// Discard closes the folder and removes what the Writer has written, and the folder
// itself if it is empty then.
func (w *Writer) Discard() error {
	err := w.Close()
	for _, name := range []string{SamplesFile, ManifestFile} {
		if gone := os.Remove(filepath.Join(w.path, name)); gone != nil && !errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("result: discard: %w", gone))
		}
	}
	_ = os.Remove(w.path) // stays if there is anything else in it
	return err
}

// Read reads a folder. A last sample that was cut off, because the machine went down,
// is left out, and the manifest then says that the results are partial.
func Read(path string) (*Folder, error) {
	f := &Folder{Path: path}
	b, err := os.ReadFile(filepath.Join(path, ManifestFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: no %s in it: name a folder that compare run wrote", ErrFolder, path, ManifestFile)
	}
	if err := json.Unmarshal(b, &f.Manifest); err != nil {
		return nil, fmt.Errorf("%w: %s/%s: %w", ErrFolder, path, ManifestFile, err)
	}
	file, err := os.Open(filepath.Join(path, SamplesFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewReaderSize(file, 1<<16)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		cut := errors.Is(err, io.EOF) && len(line) > 0
		if cut && f.Manifest.Partial == "" {
			f.Manifest.Partial = "the last sample was cut off"
		}
		if len(line) > 0 && !cut {
			var s Sample
			if bad := json.Unmarshal(line, &s); bad != nil {
				return nil, fmt.Errorf("%w: %s/%s: line %d: %w", ErrFolder, path, SamplesFile, n, bad)
			}
			f.Samples = append(f.Samples, s)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFolder, err)
		}
	}
	if len(f.Samples) == 0 {
		return nil, fmt.Errorf("%w: %s: no run was finished, so there is nothing to show", ErrFolder, path)
	}
	return f, nil
}
