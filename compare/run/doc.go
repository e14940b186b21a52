// Package run takes arms through scenarios: it checks what can be checked
// beforehand, builds the server, plans the runs, has each made on a fresh rig,
// shows how far it is, and writes the results folder.
package run
