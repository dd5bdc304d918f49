# SPDX-License-Identifier: Apache-2.0
"""What the kernel has counted of processes that somebody has waited for: getrusage(2)."""

from __future__ import annotations

from collections.abc import Mapping
from resource import struct_rusage

from cwl_udss.records import record

FACTS = ("user-us", "system-us", "largest-kib", "major-faults", "read-blocks", "written-blocks")
"""The names by which a program says it, in whole numbers."""
_MICROSECONDS = 1e6


@record(frozen=True, kw_only=True)
class Counted:
    """What was counted of some processes together."""

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
        """Return what a program has said of it; None if it has not said all."""
        if not all(name in facts for name in FACTS):
            return None
        user, system, largest, faults, read, written = (facts[name] for name in FACTS)
        return cls(
            user_seconds=user / _MICROSECONDS,
            system_seconds=system / _MICROSECONDS,
            largest_kibibytes=largest,
            major_faults=faults,
            read_blocks=read,
            written_blocks=written,
        )

    def facts(self) -> dict[str, int]:
        """Return how to say it."""
        values = (
            round(self.user_seconds * _MICROSECONDS),
            round(self.system_seconds * _MICROSECONDS),
            self.largest_kibibytes,
            self.major_faults,
            self.read_blocks,
            self.written_blocks,
        )
        return dict(zip(FACTS, values, strict=True))

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            user_seconds=self.user_seconds + other.user_seconds,
            system_seconds=self.system_seconds + other.system_seconds,
            largest_kibibytes=max(self.largest_kibibytes, other.largest_kibibytes),
            major_faults=self.major_faults + other.major_faults,
            read_blocks=self.read_blocks + other.read_blocks,
            written_blocks=self.written_blocks + other.written_blocks,
        )


NOTHING = Counted(
    user_seconds=0.0,
    system_seconds=0.0,
    largest_kibibytes=0,
    major_faults=0,
    read_blocks=0,
    written_blocks=0,
)
