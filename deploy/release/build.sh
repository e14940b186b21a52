#!/bin/sh
# build.sh FILE: builds the program as FILE: static, stamped with VERSION and
# COMMIT from the environment, without paths or times of this machine, so that
# the same sources and the same Go give the same bytes in every folder.
set -eu
out=$1
case $out in /*) ;; *) out=$PWD/$out ;; esac
cd "$(dirname "$0")/../.."
stamps=github.com/tandem-ws/tandem/server/version
CGO_ENABLED=0 exec "${GO:-go}" build -trimpath -buildvcs=false \
	-ldflags "-s -w -X $stamps.Version=${VERSION:?} -X $stamps.commit=${COMMIT:-unknown}" -o "$out" .
