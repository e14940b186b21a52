package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/internal/programtest"
)

var server string // the server program, built once

func TestMain(m *testing.M) {
	if programtest.IsProgram() {
		main()
		return
	}
	os.Exit(withServer(m))
}

func withServer(m *testing.M) int {
	path, remove, err := node.Program(context.Background(), "", false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	server = path
	return m.Run()
}
