// Package version tells which Tandem runs.
package version

import "runtime/debug"

// Version is the release; the linker may set another one with
// -X github.com/tandem-ws/tandem/server/version.Version.
var Version = "0.1.0"

// commit is what the program was built from; the linker sets it with
// -X github.com/tandem-ws/tandem/server/version.commit, because what the go command
// records of a repository depends on where it builds.
var commit string

// Revision returns the commit that the program was built from, if the build
// recorded it, and "unknown" if not.
func Revision() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	found, dirty := "unknown", ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			found = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "-dirty"
		}
	}
	return found + dirty
}
