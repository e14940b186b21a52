// Package result is what compare measures and keeps: samples, the manifest that
// says how they came about, the folder that holds both, and the statistics that
// every table and picture is made with. It knows nothing of how a sample is
// taken or shown.
//
// A folder holds manifest.json, samples.jsonl (a sample a line, written as runs
// end) and what package report makes of them.
package result
