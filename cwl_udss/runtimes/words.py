# SPDX-License-Identifier: Apache-2.0
"""Lists of words for other programs, by descriptor: as bwrap(1) reads them with `--args`."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from cwl_udss.errors import SandboxError

_CLOSE_ON_EXEC = 1  # MFD_CLOEXEC


def encode_words(words: Iterable[str]) -> bytes:
    """Return words, each ended by a NUL.

    One inside a word, from an expression say, would begin an option that is not ours: raises
    SandboxError.
    """
    encoded = []
    for word in words:
        if "\0" in word:
            raise SandboxError(f"there is a NUL character in {word!r}", "remove it")
        encoded.append(os.fsencode(word) + b"\0")
    return b"".join(encoded)


def memory_file(content: bytes) -> int:
    """Return a descriptor from which to read a content, to be closed by the caller."""
    descriptor = _memory_file()
    with open(descriptor, "wb", closefd=False) as stream:
        stream.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _memory_file() -> int:
    """By the C library itself, memfd_create(2): a Python that was built for one older than 2.27,
    as portable ones are, does not know the function."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = library.memfd_create(b"cwl-udss", _CLOSE_ON_EXEC)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(descriptor)
