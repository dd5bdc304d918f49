# SPDX-License-Identifier: Apache-2.0
"""The standard streams of our commands: at whatever starts them some may be closed, or full."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

_NAMES = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_standard_streams() -> None:
    """Have `/dev/null` where a standard stream is closed (`cwl-udss … <&-`).

    What is opened next would be that stream otherwise, and be mistaken for it by whatever program
    is started then; the C library does the same for programs that are setuid.
    """
    for descriptor, (name, mode) in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, as open(2) promises
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def print_names_as_they_are() -> None:
    """Have names of files printed that are no valid text: as their bytes, as Python itself does
    where no language is set (PEP 538)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


@contextlib.contextmanager
def whole_output(program: str) -> Iterator[None]:
    """Leave the block with all written that was printed in it, or with a sentence and the exit code
    1: Python says a traceback's worth, and 120."""
    code: object = None
    try:
        yield
    except SystemExit as end:
        code = end.code
        raise
    finally:
        try:
            if not sys.stdout.closed:  # cwltool's main() wraps it if it is not in UTF-8
                sys.stdout.flush()
        except OSError as error:
            # Python tries once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            # Whoever read it may have had enough: `cwl-udss doctor | head`.
            if not code and not isinstance(error, BrokenPipeError):
                print(f"{program}: standard output: {error.strerror}", file=sys.stderr)
            sys.exit(code or 1)  # type: ignore[arg-type]
