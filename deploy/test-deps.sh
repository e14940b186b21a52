#!/bin/sh
# Installs what the tests need beyond Go and gcc: redis-server, and for root on Linux
# iproute2, with which a test makes a network that drops packets. It does nothing
# where they are there already.
set -eu

# as_root runs a command as root, where that is possible without waiting for a
# password that nobody is there to type.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
		sudo "$@"
	else
		return 1
	fi
}

install_redis() {
	if command -v apt-get >/dev/null 2>&1; then
		# A source that fails need not be the one that has the package.
		as_root apt-get update -qq || true
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server
	elif command -v dnf >/dev/null 2>&1; then
		as_root dnf install -y -q redis || as_root dnf install -y -q valkey-compat-redis
	elif command -v apk >/dev/null 2>&1; then
		as_root apk add --no-progress redis
	elif command -v brew >/dev/null 2>&1; then
		brew install --quiet redis
	else
		return 1
	fi
}

# Only root can make networks; for everybody else, and where this fails, another
# test shows the same with a relay.
if [ "$(uname)" = Linux ] && [ "$(id -u)" -eq 0 ] && ! { command -v ip && command -v tc; } >/dev/null 2>&1; then
	echo "iproute2 is missing: installing it for the tests" >&2
	if command -v apt-get >/dev/null 2>&1; then
		apt-get update -qq >&2 || true
		env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends iproute2 >&2 || true
	elif command -v dnf >/dev/null 2>&1; then
		dnf install -y -q iproute iproute-tc >&2 || true
	elif command -v apk >/dev/null 2>&1; then
		apk add --no-progress iproute2 >&2 || true
	fi
fi

command -v redis-server >/dev/null 2>&1 && exit 0

echo "redis-server is missing: installing it for the tests" >&2
if ! install_redis >&2 || ! command -v redis-server >/dev/null 2>&1; then
	echo "redis-server could not be installed: install Redis 6 or newer so that redis-server is on the PATH" \
		"(Debian: sudo apt-get install redis-server; Fedora: sudo dnf install redis; Alpine: apk add redis; macOS: brew install redis)" >&2
	exit 1
fi
