#!/usr/bin/env bash
# Really runs docker-compose.yml, profile compare: builds, waits until everything
# is healthy, publishes, asks Prometheus for both modes, and takes it all down.
# Needs a Docker engine and docker compose. An image that cannot be pulled is
# built from this machine's own programs under the same name; what was a stand-in
# is told, and removed at the end.
#
#   make compose-check        NOFILE=20000 where the daemon may not have more
set -euo pipefail
cd "$(dirname "$0")/.."
export COMPOSE_PROJECT_NAME=tandem-check NOFILE=${NOFILE:-16384} LOAD_CONNECTIONS=${LOAD_CONNECTIONS:-500}
# One build after the other: they share their layers.
export COMPOSE_PARALLEL_LIMIT=1
export PORT=18080 INTERNAL_PORT=19000 IDIOMATIC_PORT=18081 OPTIMIZED_PORT=18082 PROMETHEUS_PORT=19090 GRAFANA_PORT=13000
read -ra compose <<<"${COMPOSE:-docker compose}"
rooms=$(mktemp -d)
standins=()
finish() {
	"${compose[@]}" --profile compare down --volumes --timeout 20 >/dev/null 2>&1 || true
	((${#standins[@]})) && docker image rm -f "${standins[@]}" >/dev/null 2>&1
	rm -rf "$rooms"
}
trap finish EXIT

# with copies programs and the libraries they need into a folder.
with() {
	local root=$1 program library
	shift
	for program in "$@"; do
		for library in $(ldd "$program" 2>/dev/null | grep -o '/[^ )]*'); do
			mkdir -p "$root$(dirname "$library")"
			cp -L "$library" "$root$library"
		done
		mkdir -p "$root$(dirname "$program")"
		cp -L "$program" "$root$program"
	done
	mkdir -p "$root/tmp" && chmod 1777 "$root/tmp"
}

# standin IMAGE: a Dockerfile on standard input, files in $rooms/IMAGE.
standin() {
	docker build -q -t "$1" -f - "$2" >/dev/null
	standins+=("$1")
	echo "stand-in: $1, from this machine's own programs"
}

image() { sed -n "s|^ *image: \($1:.*\)|\1|p" docker-compose.yml; }
absent() { ! docker image inspect "$1" >/dev/null 2>&1 && ! docker pull -q "$1" >/dev/null 2>&1; }

redis=$(image redis) prometheus=$(image prom/prometheus) grafana=$(image grafana/grafana)
golang=$(sed -n 's/^FROM \(golang:[^ ]*\).*/\1/p' deploy/Dockerfile)

if absent "$redis"; then
	with "$rooms/redis" /usr/bin/redis-server /usr/bin/redis-cli /bin/busybox
	# The real image comes with protected mode off.
	printf '#!/bin/busybox sh\nexec /usr/bin/redis-server "$@" --protected-mode no\n' >"$rooms/redis/bin/redis-server"
	chmod +x "$rooms/redis/bin/redis-server"
	standin "$redis" "$rooms/redis" <<-'END'
		FROM scratch
		COPY . /
		ENV PATH=/bin:/usr/bin
	END
fi
if absent "$golang"; then
	with "$rooms/go" /bin/busybox
	ln -s busybox "$rooms/go/bin/sh"
	mkdir -p "$rooms/go/usr/local" "$rooms/go/etc/ssl/certs" "$rooms/go/root"
	cp -a "$(go env GOROOT)" "$rooms/go/usr/local/go"
	cp -L /etc/ssl/certs/ca-certificates.crt "$rooms/go/etc/ssl/certs/"
	# The build has no network here: it gets the modules that go.mod names.
	from=$(go env GOMODCACHE)
	go mod download
	GOFLAGS=-modcacherw GOMODCACHE="$rooms/modules" GOPROXY="file://$from/cache/download" GONOSUMDB='*' go mod download
	mv "$rooms/modules/cache/download" "$rooms/go/modules"
	chmod -R u+w "$rooms/modules"
	standin "$golang" "$rooms/go" <<-'END'
		FROM scratch
		COPY . /
		ENV PATH=/usr/local/go/bin:/bin HOME=/root GOPROXY=file:///modules GONOSUMDB=* GOFLAGS=-mod=mod GOTOOLCHAIN=local
	END
fi
if absent "$prometheus"; then
	with "$rooms/prometheus" "$(command -v prometheus)"
	standin "$prometheus" "$rooms/prometheus" <<-END
		FROM scratch
		COPY . /
		ENTRYPOINT ["$(command -v prometheus)"]
	END
fi
if absent "$grafana"; then
	# No system package has it: this one answers its health check and no more.
	with "$rooms/grafana" /bin/busybox
	mkdir -p "$rooms/grafana/www/api"
	echo '{"database":"ok"}' >"$rooms/grafana/www/api/health"
	standin "$grafana" "$rooms/grafana" <<-'END'
		FROM scratch
		COPY . /
		ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "3000", "-h", "/www"]
	END
fi

"${compose[@]}" --profile compare up --build --detach --wait --wait-timeout 120
"${compose[@]}" --profile compare ps --format 'table {{.Service}}\t{{.Status}}'

# ask QUERY prints the value of each mode.
ask() {
	curl -fsS --get --data-urlencode "query=$1" "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query" |
		grep -o '"mode":"[a-z]*"[^]]*\]' | sed 's/"mode":"\([a-z]*\)".*,"\([^"]*\)"\]/\1 \2/'
}
until_both() {
	local got
	for _ in $(seq 60); do
		got=$(ask "$1" || true)
		if [ "$(wc -l <<<"$got")" -eq 2 ]; then
			printf '%s\n' "$1" && sed 's/^/    /' <<<"$got"
			return
		fi
		sleep 1
	done
	echo "compose-check: Prometheus has not both modes of: $1" >&2
	return 1
}
until_both "tandem_load_connections == $LOAD_CONNECTIONS"
until_both 'sum by (mode) (rate(tandem_load_delivered_total[10s])) > 0'
until_both 'process_resident_memory_bytes{job="tandem"}'
until_both 'tandem_load_lost_messages == 0'
[ "$("${compose[@]}" exec -T redis redis-cli publish news '{"hello":"world"}')" = 0 ]
curl -fsS "http://127.0.0.1:$PORT/healthz" >/dev/null
curl -fsS "http://127.0.0.1:$GRAFANA_PORT/api/health" >/dev/null
for service in server idiomatic optimized; do
	limit=$("${compose[@]}" exec -T "$service" /tandem check 2>&1 | grep -i 'open files' || true)
	echo "$service: ${limit:-checked}"
done
"${compose[@]}" --profile compare stop --timeout 30 server idiomatic optimized
for service in server idiomatic optimized; do
	code=$(docker inspect -f '{{.State.ExitCode}}' "$COMPOSE_PROJECT_NAME-$service-1")
	echo "$service: drained, exit code $code"
	[ "$code" = 0 ]
done
echo "compose-check: ok"
