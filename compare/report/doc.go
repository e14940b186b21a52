// Package report presents a results folder: tables, charts, the page, the comparison
// of two folders, and Go benchmark format. Everything that it shows is in the folder.
package report
