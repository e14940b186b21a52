// Package enginetest is the conformance suite that every engine passes,
// unchanged. Its clients speak raw TCP, so that a case controls every byte; its
// node runs the engine on an in-memory bus where a case must hold or fail a
// confirmation, and on a real redis-server where the whole path counts.
//
// After each case the suite checks that nothing is left of the connections: no
// channel reference, no counted connection or subscription, no queued byte.
//
// The tests of the package itself hold the engines against each other: the same
// bytes, cut at the same places, must be answered alike. Fuzz targets find the bytes;
// what they found stays as a named case.
package enginetest
