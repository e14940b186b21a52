// Package enginetest is the conformance suite that every engine must pass unchanged.
// It holds the cases; package kit holds the tools that they are made with.
//
// The tests of this package compare the engines: the same bytes, cut at the same
// places, must get the same answer from both. Fuzz targets look for bytes that do not;
// what they found is kept as a named case.
package enginetest
