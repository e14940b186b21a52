// Package rig sets up what one run needs and measures it: server nodes, load
// processes and Redis, all of them fresh, each on its CPUs, and nothing left
// behind when the run is over, however it ends.
package rig
