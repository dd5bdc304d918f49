# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a SquashFS file, and the sentence that a person reads of it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

from cwl_udss.errors import DamagedImage, InvalidImage


class Malformed(ValueError):
    """The file contradicts itself. The text says how."""


class NotRead(Exception):
    """The file is one of a kind that is not read. The texts say which, and what to do."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem, advice)
        self.problem = problem
        self.advice = advice


@contextlib.contextmanager
def explained(name: Path | str) -> Iterator[None]:
    """Turn what reading a file may raise into an InvalidImage. OSError stays."""
    try:
        yield
    except NotRead as error:
        raise InvalidImage(f"{name} is {error.problem}", error.advice) from error
    except (Malformed, EOFError, struct.error) as error:
        what = f" ({error})" if isinstance(error, Malformed) else ""
        raise DamagedImage(
            f"{name} is damaged, or no SquashFS file{what}",
            "make or copy it again; of images of the store, see: cwl-udss images verify",
        ) from error
