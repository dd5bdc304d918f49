#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# squashfs-tools-ng 1.2.0-1, squashfs-tools 1:4.5.1-1 (Debian 12), November 2026
#
# One would guess: what `tar2sqfs` writes `unsquashfs` reads, whatever it is packed with.
# Seen: with `-c lz4` the table of owners of a small file, 4 bytes, is stored as a compressed block
# of 5, which is longer than what it holds. squashfs-tools take such a block for damage ("failed to
# read id table block"), rdsquashfs of squashfs-tools-ng reads it. With gzip both do.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
apt-get -q=2 download squashfs-tools-ng=1.2.0-1 libsquashfs1=1.2.0-1 squashfs-tools=1:4.5.1-1
for package in *.deb; do dpkg -x "$package" root; done
export PATH=$place/root/usr/bin:$PATH
LD_LIBRARY_PATH=$(dirname "$(find root -name 'libsquashfs.so*' | head -1)")
export LD_LIBRARY_PATH=$place/$LD_LIBRARY_PATH

mkdir in && echo content > in/file && tar --owner 0 --group 0 -cf in.tar -C in .
for packing in gzip lz4; do
    tar2sqfs -q -c "$packing" "$packing.sqfs" < in.tar
    unsquashfs -d "out-$packing" "$packing.sqfs" > "$packing.txt" 2>&1 && theirs=reads || theirs=fails
    [ "$(rdsquashfs --cat /file "$packing.sqfs")" = content ] && own=reads || own=fails
    echo "$packing: rdsquashfs $own, unsquashfs $theirs ($(grep -m 1 table "$packing.txt" || true))"
    echo "$own $theirs" > "$packing.result"
done
[ "$(cat gzip.result)" = "reads reads" ]
[ "$(cat lz4.result)" = "reads fails" ]
grep -q "failed to read id table block" lz4.txt
