# SPDX-License-Identifier: Apache-2.0
"""Lists of words for other programs: what the kernel takes of them, and, by descriptor, as bwrap(1)
reads them with `--args`. And what bwrap says."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Mapping

from cwl_udss.errors import SandboxError

_CLOSE_ON_EXEC, _EXECUTABLE = 1, 16  # MFD_CLOEXEC, MFD_EXEC
# execve(2): of one word, with its NUL (MAX_ARG_STRLEN); of all of them, with a pointer for each
# (bprm_stack_limits() in fs/exec.c: three quarters of 8 MiB, however large the stack may be).
_LONGEST_WORD = 32 * os.sysconf("SC_PAGE_SIZE")
_MOST_BYTES = 6 << 20
_POINTER_BYTES = 8
_SHOWN = 40


def check_words(command: Iterable[str], environment: Mapping[str, str]) -> None:
    """Raise SandboxError for what execve(2) and setenv(3) refuse without saying which it is."""
    for name in environment:
        if not name or "=" in name:
            raise SandboxError(
                f"{name!r} is no name of an environment variable", "mend EnvVarRequirement"
            )
    total = 0
    for word in (*command, *(f"{name}={value}" for name, value in environment.items())):
        size = len(os.fsencode(word)) + 1
        total += size + _POINTER_BYTES
        shown = f"{word[:_SHOWN]!r}…" if len(word) > _SHOWN else repr(word)
        if "\0" in word:
            raise SandboxError(f"there is a NUL character in {shown}", "remove it")
        if size > _LONGEST_WORD:
            raise SandboxError(
                f"{shown} has {size - 1} bytes, and a program takes arguments and environment "
                f"variables of {_LONGEST_WORD - 1} at most",
                "give it a file instead",
            )
    most = min(_MOST_BYTES, os.sysconf("SC_ARG_MAX"))
    if total > most:
        raise SandboxError(
            f"the command line and its environment have {total} bytes, and a program takes {most}",
            "give it its arguments in a file, or allow a larger stack (ulimit -s)",
        )


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
    descriptor = _memory_file(_CLOSE_ON_EXEC)
    fill(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def fill(descriptor: int, content: bytes) -> None:
    """Write a content to a descriptor, which stays open."""
    with open(descriptor, "wb", closefd=False) as stream:
        stream.write(content)


def program_file() -> int:
    """Return a descriptor to which to write a program, which is then executed as /proc/self/fd/N.

    Raises OSError where the kernel was told to allow none (vm.memfd_noexec=2).
    """
    try:
        return _memory_file(_CLOSE_ON_EXEC | _EXECUTABLE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return _memory_file(_CLOSE_ON_EXEC)  # before Linux 6.3 all are


def _memory_file(flags: int) -> int:
    """By the C library itself, memfd_create(2): a Python that was built for one older than 2.27,
    as portable ones are, does not know the function."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = library.memfd_create(b"cwl-udss", flags)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(descriptor)
