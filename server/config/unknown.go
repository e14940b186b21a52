package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// families are what the names of several variables begin with. A name that begins so
// and is none of them was meant to be one. LOG_, API_ and the like are not among them:
// too many other programs have such variables.
var families = []string{"TOKEN_", "MAX_", "REDIS_", "TLS_", "HEARTBEAT_", "CONNECT_", "TRUSTED_", "EMBEDDED_REDIS_"}

// foreign are variables of other programs whose names are close to ones of ours.
var foreign = map[string]bool{
	"SSL_CERT_FILE": true, // Go, OpenSSL
	"SSL_CERT_DIR":  true,
	"APP_KEY":       true, // Laravel
}

// Kubernetes, and the links of Docker, describe each service that a container may use
// by variables whose names begin with that of the service, which may be redis or tandem.
var (
	serviceName  = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|ENV_[A-Za-z0-9_]+)$`)
	serviceValue = regexp.MustCompile(`^(tcp|udp|sctp)://|^/`)
)

// describesService reports whether a variable is one of those.
func describesService(name, value string) bool {
	return serviceName.MatchString(name) ||
		(strings.HasSuffix(name, "_PORT") || strings.HasSuffix(name, "_NAME")) && serviceValue.MatchString(value)
}

// unknown returns a line for each variable that Load does not read although its name
// looks as if it should. Values are not quoted: they may be secrets.
func unknown(environ map[string]string) (bad []string) {
	known := make([]string, 0, len(Variables()))
	for _, v := range Variables() {
		known = append(known, v.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		value := environ[name]
		if value == "" || slices.Contains(known, name) || foreign[name] || describesService(name, value) {
			continue
		}
		upper := strings.ToUpper(name)
		if nearest := meant(upper, known); nearest != "" {
			bad = append(bad, fmt.Sprintf("%s: there is no such variable: write %s, or unset it", name, nearest))
			continue
		}
		for _, family := range families {
			if strings.HasPrefix(upper, family) {
				bad = append(bad, fmt.Sprintf("%s: there is no such variable: write %s, or unset it", name, members(family, known)))
				break
			}
		}
	}
	return bad
}

// meant returns the variable that a name was probably meant to be, or "".
func meant(name string, known []string) (nearest string) {
	name = strings.TrimPrefix(name, "TANDEM_")
	least := len(name)
	for _, k := range known {
		d := distance(name, k)
		if d < least && d <= tolerance(name, k) {
			nearest, least = k, d
		}
	}
	return nearest
}

// tolerance returns how many slips are taken for a misspelling. Short names are too
// close to words that other programs use: MODE to NODE.
func tolerance(name, known string) int {
	switch {
	case len(known) >= 10:
		return 2
	case len(known) >= 6:
		return 1
	case len(name) == len(known) && slices.Equal(slices.Sorted(slices.Values([]byte(name))), slices.Sorted(slices.Values([]byte(known)))):
		return 1 // two letters have changed places
	}
	return 0
}

// distance counts the letters that are missing, superfluous, wrong or have changed
// places with the next one.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			wrong := 1
			if a[i-1] == b[j-1] {
				wrong = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}

// members lists the variables of a family, for a sentence.
func members(family string, known []string) string {
	var list []string
	for _, k := range known {
		if strings.HasPrefix(k, family) {
			list = append(list, k)
		}
	}
	return strings.Join(list, " or ")
}
