// Command tandem holds the WebSocket connections of clients and fans out to them
// what back ends publish to Redis. MODE selects the engine; -help lists the verbs and
// everything that can be set.
package main

import (
	"os"

	"github.com/tandem-ws/tandem/server"
)

func main() { os.Exit(server.Main()) }
