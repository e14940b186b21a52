#!/bin/sh
# Installs what the tests need beyond Go and gcc. It does nothing if all of it
# is installed.
set -eu

# has reports whether something is installed: a program, or what a word stands for.
has() {
	case $1 in
	iproute) command -v ip && command -v tc ;;
	python-redis) /usr/bin/env PATH="/usr/bin:$PATH" python3 -c 'import redis' ;;
	php-redis) php -r 'exit(extension_loaded("redis") ? 0 : 1);' ;;
	ruby-redis) ruby -e 'require "redis"' ;;
	*) command -v "$1" || command -v "/usr/sbin/$1" ;;
	esac >/dev/null 2>&1
}

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

install_packages() {
	if command -v apt-get >/dev/null 2>&1; then
		# A source that fails need not be the one that has the package.
		as_root apt-get update -qq || true
		# In this run level nothing that is installed is started.
		as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
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

# What a test needs, and the Debian packages that have it. Those under Linux are
# for tests that run only there.
wanted='redis-server:redis-server curl:curl'
if [ "$(uname)" = Linux ]; then
	wanted="$wanted nginx:nginx-light haproxy:haproxy systemd-analyze:systemd prometheus:prometheus
		python-redis:python3-redis php-redis:php-cli,php-redis ruby-redis:ruby,ruby-redis"
	# Only root can make networks that drop packets; otherwise, or if it cannot be
	# installed, another test shows the same with a relay.
	[ "$(id -u)" -ne 0 ] || wanted="$wanted iproute:iproute2"
fi

missing=
for pair in $wanted; do
	has "${pair%%:*}" || missing="$missing $(echo "${pair#*:}" | tr , ' ')"
done
[ -n "$missing" ] || exit 0

echo "installing for the tests:$missing" >&2
# Unquoted: these are words.
install_packages $missing >&2 || true
for pair in $wanted; do
	if [ "${pair%%:*}" != iproute ] && ! has "${pair%%:*}"; then
		echo "${pair%%:*} is missing and could not be installed: install it (Debian: sudo apt-get install $(echo "${pair#*:}" | tr , ' '))" >&2
		exit 1
	fi
done
