// Package report makes of a results folder what people look at: tables, charts,
// the page, the comparison of two folders, and Go benchmark format. It takes
// everything from the folder and measures nothing. It knows the metrics and the
// ledger of package result; of scenarios and arms it knows what the manifest says,
// and for some of them which figure stands for the rest.
package report
