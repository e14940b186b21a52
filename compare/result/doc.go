// Package result holds the results of measurements: samples, the manifest that
// describes how they were taken, the folder with both, and the statistics behind every
// table and chart.
//
// A folder holds manifest.json, samples.jsonl (one sample a line, written as runs end)
// and what package report makes of them.
package result
