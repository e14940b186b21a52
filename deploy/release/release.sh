#!/bin/sh
# release.sh VERSION COMMIT [FOLDER]: builds an archive for each architecture of
# Linux, and SHA256SUMS, in FOLDER (dist). The same sources give the same bytes,
# wherever and whenever they are built: set SOURCE_DATE_EPOCH if there is no
# git to ask.
set -eu
cd "$(dirname "$0")/../.."
version=$1 commit=$2 folder=${3:-dist}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$folder"
rm -f SHA256SUMS "tandem_${version}_"*.tar.gz
cd "$OLDPWD"
for arch in amd64 arm64; do
	name=tandem_${version}_linux_$arch
	mkdir -p "$work/$name"
	GOOS=linux GOARCH=$arch VERSION=$version COMMIT=$commit deploy/release/build.sh "$work/$name/tandem"
	cp LICENSE README.md deploy/systemd/tandem.service deploy/systemd/tandem.env deploy/systemd/tandem-sysctl.conf "$work/$name"
	chmod 644 "$work/$name"/*
	chmod 755 "$work/$name/tandem"
	tar --sort=name --format=ustar --mtime="@$epoch" --owner=0 --group=0 --numeric-owner \
		-C "$work" -cf - "$name" | gzip -9n >"$folder/$name.tar.gz"
done
cd "$folder"
sha256sum "tandem_${version}_"*.tar.gz >SHA256SUMS
cat SHA256SUMS
