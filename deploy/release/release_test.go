//go:build linux

// Package release_test builds releases and looks at what users get.
package release_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run runs a command in a folder, with variables beside those of the test.
func run(t *testing.T, dir string, environ []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestBuildIsReproducible builds in two folders, the second of which has no git.
func TestBuildIsReproducible(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "else", "where")
	for _, part := range []string{"go.mod", "go.sum", "main.go", "server", "modes", "redisbus", "deploy"} {
		if err := copyTree("../../"+part, filepath.Join(elsewhere, part)); err != nil {
			t.Fatal(err)
		}
	}
	var sums []string
	for _, dir := range []string{"../..", elsewhere} {
		program := filepath.Join(t.TempDir(), "tandem")
		run(t, dir, []string{"VERSION=9.8.7", "COMMIT=c0ffee", "GOFLAGS=-mod=mod"}, "deploy/release/build.sh", program)
		content, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, fmt.Sprintf("%x", sha256.Sum256(content)))
		if out := run(t, dir, nil, program, "version"); !strings.HasPrefix(out, "tandem 9.8.7 c0ffee go1.") {
			t.Errorf("version prints %q", out)
		}
	}
	if sums[0] != sums[1] {
		t.Errorf("the same sources give %s in one folder and %s in another", sums[0], sums[1])
	}
}

func copyTree(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}

// TestRelease builds the archives and looks at what a user gets.
func TestRelease(t *testing.T) {
	dist := t.TempDir()
	run(t, "../..", []string{"SOURCE_DATE_EPOCH=1700000000"}, "deploy/release/release.sh", "9.8.7", "c0ffee", dist)
	if out := run(t, dist, nil, "sha256sum", "--check", "SHA256SUMS"); strings.Count(out, ": OK\n") != 2 {
		t.Errorf("sha256sum --check says %q", out)
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		name := "tandem_9.8.7_linux_" + arch
		files := untar(t, filepath.Join(dist, name+".tar.gz"))
		for _, want := range []string{"tandem", "LICENSE", "README.md", "tandem.service", "tandem.env", "tandem-sysctl.conf"} {
			if len(files[name+"/"+want]) == 0 {
				t.Errorf("%s has no %s", name, want)
			}
		}
		program, err := elf.NewFile(bytes.NewReader(files[name+"/tandem"]))
		if err != nil {
			t.Fatal(err)
		}
		if program.Machine != machine {
			t.Errorf("%s has a program for %v", name, program.Machine)
		}
		for _, part := range program.Progs {
			if part.Type == elf.PT_INTERP {
				t.Errorf("the program in %s is linked dynamically", name)
			}
		}
	}
}

// untar returns the files of an archive, and checks that nothing in it tells of
// the machine that made it.
func untar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if !unzipped.ModTime.IsZero() || unzipped.Name != "" {
		t.Errorf("%s holds a time or a name: %+v", path, unzipped.Header)
	}
	files := make(map[string][]byte)
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.ModTime.Unix() != 1700000000 {
			t.Errorf("%s: %s belongs to %d:%d and is of %v", path, header.Name, header.Uid, header.Gid, header.ModTime)
		}
		if executable := header.Mode&0o111 != 0; executable != (strings.HasSuffix(header.Name, "/tandem") || strings.HasSuffix(header.Name, "/")) {
			t.Errorf("%s: %s has mode %o", path, header.Name, header.Mode)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}
