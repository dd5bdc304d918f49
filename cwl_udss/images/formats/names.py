# SPDX-License-Identifier: Apache-2.0
"""How images are kept, as a person chooses it."""

from __future__ import annotations

import enum


class ImageFormat(enum.Enum):
    """How an image's root filesystem is kept."""

    DIRECTORY = "directory"
    SQUASHFS = "squashfs"


class Compression(enum.Enum):
    """How blocks are compressed: zstd, or gzip for kernels and tools that are older than it."""

    ZSTD = "zstd"
    GZIP = "gzip"
