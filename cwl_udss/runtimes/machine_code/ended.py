# SPDX-License-Identifier: Apache-2.0
"""What a program says of how a command has ended."""

from __future__ import annotations

import os
import struct

from cwl_udss.records import record

# The status, and struct rusage of getrusage(2), in which times are before the largest process.
ENDED = struct.Struct("=i4x5q104x")


@record(frozen=True)
class Ended:
    """How a command has ended."""

    code: int
    """That of os.waitstatus_to_exitcode()."""
    largest_kib: int
    """How much memory the largest of its processes had."""
    processor_microseconds: int
    """Of it, and of those that it has waited for."""


def ended(said: bytes) -> Ended | None:
    """Return how a command has ended; None if that is not what was said."""
    if len(said) != ENDED.size:
        return None
    status, user, user_rest, system, system_rest, kibibytes = ENDED.unpack(said)
    microseconds = (user + system) * 1_000_000 + user_rest + system_rest
    return Ended(os.waitstatus_to_exitcode(status), kibibytes, microseconds)
