# SPDX-License-Identifier: Apache-2.0
"""What a program says of how a command has ended."""

from __future__ import annotations

import os
import struct

from cwl_udss.records import record
from cwl_udss.runtimes.accounting.counted import Counted

# The status, and struct rusage of getrusage(2): the times, the largest process, (three unused and
# minor faults,) major faults, (swaps,) blocks read and written, (and five others).
ENDED = struct.Struct("=i4x4qq32xq8x2q40x")


@record(frozen=True)
class Ended:
    """How a command has ended."""

    code: int
    """That of os.waitstatus_to_exitcode()."""
    counted: Counted
    """Of it, and of those that it has waited for; of all, after count_all()."""


def ended(said: bytes) -> Ended | None:
    """Return how a command has ended; None if that is not what was said."""
    if len(said) != ENDED.size:
        return None
    status, user, user_rest, system, system_rest, largest, faults, read, written = ENDED.unpack(
        said
    )
    counted = Counted(
        user_seconds=user + user_rest / 1e6,
        system_seconds=system + system_rest / 1e6,
        largest_kibibytes=largest,
        major_faults=faults,
        read_blocks=read,
        written_blocks=written,
    )
    return Ended(os.waitstatus_to_exitcode(status), counted)
