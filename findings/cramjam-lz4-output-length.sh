#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cramjam 2.14.0 (PyPI), November 2026
#
# One would guess: `lz4.decompress_block(data, output_len=N)` gives what is in the block, N being
# the room for it, as in LZ4_decompress_safe().
# Seen: it gives N bytes, and those behind the content are nothing. `decompress_block_into` says how
# many bytes it has written, and is right.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check cramjam==2.14.0
"$place/venv/bin/python" - <<'PYTHON'
import cramjam

content = bytes(range(250)) * 24
block = bytes(cramjam.lz4.compress_block(content, store_size=False))
given = bytes(cramjam.lz4.decompress_block(block, output_len=8192))
room = bytearray(8192)
written = cramjam.lz4.decompress_block_into(block, room)
print(f"cramjam {cramjam.__version__}: of {len(content)} bytes decompress_block gives {len(given)},")
print(f"decompress_block_into {written}")
assert len(given) == 8192 and given.startswith(content)
assert bytes(room[:written]) == content
PYTHON
