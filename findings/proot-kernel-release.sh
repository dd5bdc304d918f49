#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# proot 5.1.0-1.3 (Debian 12), November 2026
#
# One would guess: `proot -k RELEASE` changes what uname(2) says, as its help has it ("make current
# kernel appear as kernel release"), and no more.
# Seen: with Debian 12's C library no program that is linked dynamically starts any more, whatever
# the release: "error while loading shared libraries: libc.so.6: cannot stat shared object: Invalid
# argument", exit code 127; without the option, and with a static program, all is well. And there is
# no `--` to end PRoot's own options: it is refused as one that is unknown, so that a command whose
# name begins with a dash needs a path.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
apt-get -q=2 download proot=5.1.0-1.3 libtalloc2 busybox-static
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$(dirname "$(find "$place/root" -name 'libtalloc.so*' | head -1)")
proot=$place/root/usr/bin/proot
static=$place/root/bin/busybox

"$proot" --version | grep -o '5[.]1[.]0'
echo "host: $(uname -r), plain: $("$proot" -r / /bin/uname -r)"
echo "static, -k 5.10.0: $("$proot" -r / -k 5.10.0 "$static" uname -r)"
"$proot" -r / -k 5.10.0 /bin/uname -r >dynamic.txt 2>&1 && status=0 || status=$?
echo "dynamic, -k 5.10.0: $status, $(cat dynamic.txt)"
"$proot" -r / -- /bin/true >dashes.txt 2>&1 && dashes=0 || dashes=$?
echo "--: $dashes, $(head -1 dashes.txt)"

[ "$("$proot" -r / /bin/uname -r)" = "$(uname -r)" ]
[ "$("$proot" -r / -k 5.10.0 "$static" uname -r)" = 5.10.0 ]
[ "$status" = 127 ]
grep -q 'cannot stat shared object: Invalid argument' dynamic.txt
[ "$dashes" = 1 ]
grep -q "unknown option '--'" dashes.txt
