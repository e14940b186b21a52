// Package kit has what the cases of the conformance suite are made with: a node that
// runs the engine under test, an in-memory bus whose confirmations a case can hold or
// fail, a node on a real redis-server, clients that speak raw TCP so that a case
// controls every byte, and what waits for conditions.
//
// A Node checks after each case that nothing is left of its connections: no channel
// reference, no counted connection or subscription, no queued byte.
package kit
