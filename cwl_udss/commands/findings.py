# SPDX-License-Identifier: Apache-2.0
"""What `cwl-udss doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    subject: str
    text: str
    well: bool = True
    advice: str = ""
    """What could be better, though all works."""

    @property
    def state(self) -> str:
        """How it stands, in a word."""
        return "FAIL" if not self.well else "note" if self.advice else "ok"
