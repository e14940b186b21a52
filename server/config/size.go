package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written with or without a unit.
type Size int64

// units are powers of 1000, and with an i of 1024, as in Kubernetes.
var units = map[string]float64{
	"": 1, "B": 1,
	"K": 1e3, "KB": 1e3, "M": 1e6, "MB": 1e6, "G": 1e9, "GB": 1e9, "T": 1e12, "TB": 1e12,
	"KI": 1 << 10, "KIB": 1 << 10, "MI": 1 << 20, "MIB": 1 << 20, "GI": 1 << 30, "GIB": 1 << 30, "TI": 1 << 40, "TIB": 1 << 40,
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	value := strings.TrimSpace(string(text))
	digits := strings.TrimRight(value, "BIKMGTbikmgt ")
	unit, known := units[strings.ToUpper(strings.TrimSpace(value[len(digits):]))]
	n, err := strconv.ParseFloat(digits, 64)
	bytes := n * unit
	if !known || err != nil || strings.Trim(digits, "0123456789.") != "" || bytes >= math.MaxInt64 {
		return errors.New("config: not a size")
	}
	*s = Size(bytes)
	return nil
}

// String returns the size as UnmarshalText reads it.
func (s Size) String() string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if factor := int64(units[strings.ToUpper(unit)]); s != 0 && int64(s)%factor == 0 {
			return strconv.FormatInt(int64(s)/factor, 10) + unit
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
