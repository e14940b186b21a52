// Package testbed sets up what one run needs, and measures it: server nodes, load
// processes and Redis, all fresh, each on its CPUs. Nothing is left behind after the
// run, however it ends.
package testbed
