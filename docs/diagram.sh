#!/bin/sh
# diagram.sh: draws architecture.svg from architecture.dot with Graphviz, and notes
# in it what it was drawn from, so that a test finds out when it is outdated.
set -eu
cd "$(dirname "$0")"
command -v dot >/dev/null 2>&1 || {
	echo "dot is missing: install Graphviz (Debian: sudo apt-get install graphviz)" >&2
	exit 1
}
dot -Tsvg architecture.dot >architecture.svg
echo "<!-- architecture.dot $(sha256sum <architecture.dot | cut -d' ' -f1) -->" >>architecture.svg
