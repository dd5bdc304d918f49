# SPDX-License-Identifier: Apache-2.0
"""What a runtime says of the sandbox that it makes."""

from __future__ import annotations

import io
import os
import re
import select
from collections.abc import Mapping
from dataclasses import dataclass
from resource import struct_rusage

# A number is whole if something comes after it.
_STATUS = re.compile(
    rb'"(child-pid|exit-code|tracer-pid|user-us|system-us|largest-kib|major-faults|read-blocks|'
    rb'written-blocks)": (\d+)(?=\D)'
)
_MICROSECONDS = 1e6


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What the kernel has counted of processes that somebody has waited for: getrusage(2)."""

    user_seconds: float
    system_seconds: float
    largest_kibibytes: int
    """That of the largest, 0 if it is not known."""
    major_faults: int
    read_blocks: int
    """Of 512 bytes, whatever the filesystem's are."""
    written_blocks: int

    @classmethod
    def of(cls, usage: struct_rusage) -> Counted:
        """Return what wait4(2) has said."""
        return cls(
            user_seconds=usage.ru_utime,
            system_seconds=usage.ru_stime,
            largest_kibibytes=usage.ru_maxrss,
            major_faults=usage.ru_majflt,
            read_blocks=usage.ru_inblock,
            written_blocks=usage.ru_oublock,
        )

    @classmethod
    def said(cls, facts: Mapping[str, int]) -> Counted | None:
        """Return what a runtime has said of it, in its last words; None if it has not."""
        if "written-blocks" not in facts:
            return None
        return cls(
            user_seconds=facts["user-us"] / _MICROSECONDS,
            system_seconds=facts["system-us"] / _MICROSECONDS,
            largest_kibibytes=facts["largest-kib"],
            major_faults=facts["major-faults"],
            read_blocks=facts["read-blocks"],
            written_blocks=facts["written-blocks"],
        )

    def facts(self) -> dict[str, int]:
        """Return how to say it."""
        return {
            "user-us": round(self.user_seconds * _MICROSECONDS),
            "system-us": round(self.system_seconds * _MICROSECONDS),
            "largest-kib": self.largest_kibibytes,
            "major-faults": self.major_faults,
            "read-blocks": self.read_blocks,
            "written-blocks": self.written_blocks,
        }

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            user_seconds=self.user_seconds + other.user_seconds,
            system_seconds=self.system_seconds + other.system_seconds,
            largest_kibibytes=max(self.largest_kibibytes, other.largest_kibibytes),
            major_faults=self.major_faults + other.major_faults,
            read_blocks=self.read_blocks + other.read_blocks,
            written_blocks=self.written_blocks + other.written_blocks,
        )


class Words:
    """What a bwrap says of itself: JSON objects, in several writes (bwrap(1), --json-status-fd).
    The last may be incomplete if it was killed."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.have_ended = False
        """So has their bwrap; its child closes its end before it does anything."""
        self._said = b""

    @property
    def facts(self) -> dict[str, int]:
        """What was said so far."""
        return {name.decode(): int(value) for name, value in _STATUS.findall(self._said)}

    def read(self) -> None:
        """Add what can be read now."""
        part = os.read(self.descriptor, io.DEFAULT_BUFFER_SIZE)
        self._said += part
        self.have_ended = not part

    def read_until(self, name: str | None, seconds: float) -> None:
        """Read until a fact was said, or to the end; not for ever, as a bwrap that was killed
        before it had told its child to go on has left one that waits and may have the other end."""
        while not self.have_ended and name not in self.facts:
            if not is_readable(self.descriptor, seconds):
                return
            self.read()


def is_readable(descriptor: int, seconds: float) -> bool:
    """Wait until there is something to be read, or its end; say whether that came in time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
