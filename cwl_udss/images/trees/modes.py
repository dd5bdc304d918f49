# SPDX-License-Identifier: Apache-2.0
"""The permissions that an image's files have in a tree, whatever it says of them.

The owner can read all, and change and delete what is in a directory; nothing in an image can run
with another's rights, and nobody else may write to what others run.
"""

from __future__ import annotations

# One object for each: there are many files, and few modes.
_FILE_MODES = tuple(mode & 0o775 | 0o400 for mode in range(0o1000))


def file_mode(mode: int) -> int:
    """Return those of a regular file."""
    return _FILE_MODES[mode & 0o777]


def directory_mode(mode: int) -> int:
    """Return those of a directory."""
    return mode & 0o1775 | 0o700
