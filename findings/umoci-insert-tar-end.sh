#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# umoci v0.4.7 (Go module proxy), GNU tar 1.34, Python 3.11 tarfile, November 2026
#
# One would guess: a layer that a tool for images writes ends as POSIX says a tar does: the last
# file padded to 512 bytes, then two blocks of zeros.
# Seen: the layer that `umoci insert --rootless` adds ends with the last byte of the last file. Its
# own `umoci unpack` reads it; GNU tar and Python's tarfile call it cut short.
set -uo pipefail

place=$(mktemp -d)
trap 'chmod -R u+w "$place"; rm -rf "$place"' EXIT
export GOPATH=$place/go GOFLAGS=-modcacherw GOCACHE=$place/cache GOBIN=$place
cd "$place" || exit 1
fail() { echo "no longer so: $*"; exit 1; }

go install github.com/opencontainers/umoci/cmd/umoci@v0.4.7 2>/dev/null || fail "no umoci v0.4.7"
mkdir in && head -c 1000 /dev/urandom > in/file
{ ./umoci init --layout layout && ./umoci new --image layout:x &&
  ./umoci insert --rootless --image layout:x in /in; } >/dev/null 2>&1 || fail "insert failed"
layer=$(file layout/blobs/sha256/* | grep gzip | cut -d: -f1)
gzip -dc "$layer" > layer.tar
size=$(stat -c %s layer.tar)
tar tf layer.tar >/dev/null 2>tar.txt; tar=$?
python3 -c 'import tarfile; tarfile.open("layer.tar").extractall("out")' 2>python.txt; python=$?
echo "$size bytes, $((size % 512)) beyond a block; tar: exit $tar, $(head -1 tar.txt);" \
     "python: exit $python, $(tail -1 python.txt)"
[ $((size % 512)) = $((1000 % 512)) ] || fail "the length"
grep -q 'Unexpected EOF' tar.txt || fail "GNU tar"
./umoci unpack --rootless --image layout:x bundle >/dev/null 2>&1 || fail "umoci unpack"
cmp in/file bundle/rootfs/in/file || fail "the content"
