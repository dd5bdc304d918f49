#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# PySquashfsImage 0.9.0 (PyPI), squashfs-tools 4.5.1, November 2026
#
# One would guess: names in a SquashFS are bytes for a library that reads it, as they are for Linux,
# or are decoded so that any bytes come through (surrogateescape).
# Seen: one name that is no UTF-8 (Latin-1 "lévy") raises UnicodeDecodeError when the directory that
# holds it is gone through, so that the files after it are not come by; unsquashfs
# lists all.
set -uo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check PySquashfsImage==0.9.0
cd "$place" || exit 1
mkdir tree && printf 1 > "$(printf 'tree/l\351vy')" && printf 2 > tree/plain
mksquashfs tree image.squashfs -quiet -no-progress >/dev/null
unsquashfs -l image.squashfs | cat -v
venv/bin/python - <<'P'
import sys
from PySquashfsImage import SquashFsImage
try:
    with SquashFsImage.from_file("image.squashfs") as image:
        print([file.path for file in image])
except UnicodeDecodeError as error:
    print(f"UnicodeDecodeError: {error}")
    sys.exit(0)
sys.exit("no longer so")
P
