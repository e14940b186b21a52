package config

import "strings"

// List is a variable with several values, separated by commas. Spaces around them
// and empty ones do not count.
type List []string

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *List) UnmarshalText(text []byte) error {
	*l = ParseList(string(text))
	return nil
}

// ParseList splits a list of values.
func ParseList(text string) (list List) {
	for value := range strings.SplitSeq(text, ",") {
		if value = strings.TrimSpace(value); value != "" {
			list = append(list, value)
		}
	}
	return list
}
