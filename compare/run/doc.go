// Package run measures variants in scenarios: it checks the options, builds the
// server, plans the runs, makes each on a fresh testbed, shows the progress, and
// writes the results folder.
package run
