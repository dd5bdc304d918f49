#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# squashfuse 0.1.105 (Debian 12), Linux 6.18, November 2026; needs /dev/fuse and user namespaces
#
# One would guess: access(2) with X_OK on a mounted SquashFS says what execve(2) is going to do.
# Seen: squashfuse_ll mounts without `default_permissions` and has no access operation, so that the
# kernel grants every access(2) (`test -x` is true of a file with mode 0644); execve(2) looks at the
# mode all the same and fails with EACCES. So a search of PATH by access(2) finds files that cannot
# be executed; only the mode tells.
set -uo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place" || exit 1
mkdir tree mount && printf '#!/bin/sh\necho ran\n' > tree/script && chmod 644 tree/script
mksquashfs tree image.squashfs -quiet -no-progress >/dev/null
squashfuse_ll --help 2>&1 | head -1
unshare --user --map-current-user --mount --keep-caps sh -c '
    squashfuse_ll -f image.squashfs mount & mounter=$!
    for try in 1 2 3 4 5 6 7 8 9 10; do [ -e mount/script ] && break; sleep 0.2; done
    stat -c "mode %a" mount/script
    test -x tree/script && echo "tree: may be executed" || echo "tree: may not be executed"
    test -x mount/script && echo "mount: may be executed" || echo "mount: may not be executed"
    mount/script; echo "executed: exit $?"
    kill $mounter' >said 2>&1
cat said
grep -q '^mode 644' said && grep -q '^tree: may not' said && grep -q '^mount: may be' said && grep -q 'exit 126' said
