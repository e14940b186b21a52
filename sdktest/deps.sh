#!/bin/sh
# Installs what the SDK tests need beyond Go: Node with npm, Chromium,
# redis-server, and the npm packages of package-lock.json. It does nothing if
# all of it is installed.
set -eu
cd "$(dirname "$0")"

../deploy/test-deps.sh

# as_root runs a command as root if that is possible without asking for a password.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
		sudo "$@"
	else
		return 1
	fi
}

# install takes the names of Debian's packages, which Fedora, Alpine and Homebrew
# share, and installs them.
install() {
	echo "installing for the SDK tests: $*" >&2
	if command -v apt-get >/dev/null 2>&1; then
		# A source that fails need not be the one that has the packages.
		as_root apt-get update -qq || true
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
	elif command -v dnf >/dev/null 2>&1; then
		as_root dnf install -y -q "$@"
	elif command -v apk >/dev/null 2>&1; then
		as_root apk add --no-progress "$@"
	elif command -v brew >/dev/null 2>&1; then
		brew install --quiet "$@"
	else
		return 1
	fi
}

has_node() {
	command -v npm >/dev/null 2>&1 && node -e 'process.exit(process.versions.node.split(".")[0] < 18 ? 1 : 0)' 2>/dev/null
}

has_chromium() {
	test -n "${CHROMIUM:-}" || test -x /usr/bin/chromium || test -x /usr/bin/chromium-browser || test -x /usr/bin/google-chrome
}

if ! has_node && { ! install nodejs npm >&2 || ! has_node; }; then
	echo "Node is missing: install Node 18 or newer with npm (Debian: sudo apt-get install nodejs npm; macOS: brew install node)" >&2
	exit 1
fi
if ! has_chromium && { ! install chromium >&2 || ! has_chromium; }; then
	echo "Chromium is missing: install it (Debian: sudo apt-get install chromium), or set CHROMIUM to the path of a Chrome" >&2
	exit 1
fi
# npm notes what it installed; the lock file is newer once it has changed.
if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
	npm ci --loglevel=error >&2 || {
		echo "npm ci failed in $(pwd): it needs the npm registry, or a node_modules folder from a machine that reaches it" >&2
		exit 1
	}
fi
