package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tandem-ws/tandem/compare/result"
)

// number shows three significant digits, and thousands apart.
func number(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return map[bool]string{true: "0", false: "-"}[v == 0]
	}
	var s string
	switch a := math.Abs(v); {
	case a >= 999.5:
		unit := math.Pow(10, math.Floor(math.Log10(a))-2)
		s = fmt.Sprintf("%.0f", math.Round(v/unit)*unit)
	case a >= 99.95:
		s = fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		s = fmt.Sprintf("%.1f", v)
	case a >= 0.9995:
		s = fmt.Sprintf("%.2f", v)
	case a >= 0.0995:
		s = fmt.Sprintf("%.3f", v)
	case a >= 0.0005:
		s = fmt.Sprintf("%.2g", v)
	default:
		return "0"
	}
	return thousands(s)
}

// exactly is a whole number with thousands apart, or whatever v is.
func exactly(v float64) string { return thousands(strconv.FormatFloat(v, 'f', -1, 64)) }

// plainly is number without zeros that say nothing.
func plainly(v float64) string {
	s := number(v)
	if strings.Contains(s, ".") && !strings.Contains(s, "e") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func thousands(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, rest, point := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + rest
	}
	return sign + whole
}

const kilo = 1 << 10

// scale is what values of about this size are divided by, and the unit then.
func scale(unit string, size float64) (float64, string) {
	if unit == "B" {
		switch a := math.Abs(size); {
		case a >= kilo*kilo*kilo:
			return kilo * kilo * kilo, "GB"
		case a >= kilo*kilo:
			return kilo * kilo, "MB"
		case a >= kilo:
			return kilo, "KB"
		}
	}
	if unit == "/s" && math.Abs(size) >= 999_500 {
		return 1e6, " million/s"
	}
	return 1, unit
}

// amount is a value with its unit.
func amount(v float64, unit string) string {
	by, unit := scale(unit, v)
	if unit == "B" {
		return strings.TrimSpace(thousands(fmt.Sprintf("%.0f", v)) + " B")
	}
	return joined(number(v/by), unit)
}

func joined(number, unit string) string {
	switch unit {
	case "":
		return number
	case "%", "/s", " million/s":
		return number + unit
	}
	return number + " " + unit
}

// spread is a figure: median, unit and range.
func spread(f result.Figure, unit string) string {
	if !f.Have() {
		return "-"
	}
	if r := span(f, unit); r != "" {
		return amount(f.Median, unit) + " (" + r + ")"
	}
	return amount(f.Median, unit)
}

// span is a figure's range, in the unit of its median; "" where all runs gave the
// same.
func span(f result.Figure, unit string) string {
	by, in := scale(unit, f.Median)
	show := func(v float64) string {
		if in == "B" {
			return thousands(fmt.Sprintf("%.0f", v))
		}
		return number(v / by)
	}
	low, top := show(f.Low), show(f.Top)
	if low == top {
		return ""
	}
	return low + " to " + top
}

// change says how much more or less a ratio is; "" where it is no number.
func change(ratio float64) string {
	switch {
	case math.IsNaN(ratio) || math.IsInf(ratio, 0) || ratio <= 0:
		return ""
	case ratio >= 1.995:
		return plainly(short(ratio)) + "× more"
	case ratio <= 1/1.995:
		return plainly(short(1/ratio)) + "× less"
	}
	percent := (ratio - 1) * 100
	if math.Abs(percent) < 0.05 {
		return "the same"
	}
	digits, word := 0, " more"
	if math.Abs(percent) < 9.95 {
		digits = 1
	}
	if percent < 0 {
		word = " less"
	}
	return fmt.Sprintf("%.*f%%%s", digits, math.Abs(percent), word)
}

// short rounds to two digits, for no ratio is known better.
func short(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v))-1)
	return math.Round(v/unit) * unit
}
