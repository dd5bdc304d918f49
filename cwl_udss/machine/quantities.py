# SPDX-License-Identifier: Apache-2.0
"""Amounts as people write them: bytes, memory, times, numbers.

What parses one raises ValueError with what would be right; what shows one writes what that parses.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number of things: 1 job, 2 jobs."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def parse_size(text: str) -> int:
    """Return the bytes that a text such as 20G means."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)i?B?", text, re.IGNORECASE)
    if match is None:
        raise ValueError("it must be a number of bytes, such as 20G")
    return int(match[1]) << (10 * " KMGT".index(match[2].upper() or " "))


def parse_time(text: str) -> int:
    """Return the seconds that a text such as 90, 1:30:00 or 12h means."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match:
        return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
    if not re.fullmatch(r"\d+(:\d\d?){0,2}", text):
        raise ValueError("it must be a time, such as 3600, 12h or 1:30:00")
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return seconds


def parse_memory(text: str) -> int:
    """Return the MiB that a text such as 4G or 512 (MiB) means."""
    match = re.fullmatch(r"(\d+)\s*(?:([MGT])(?:i?B)?)?", text, re.IGNORECASE)
    if match is None:
        raise ValueError("it must be an amount of memory, such as 4G")
    return int(match[1]) << (10 * "MGT".index((match[2] or "M").upper()))


def parse_factor(text: str) -> float:
    """Return a factor that is at least 1."""
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= 100:
        raise ValueError("it must be a number from 1 to 100, such as 2")
    return factor


def parse_rate(text: str) -> float:
    """Return a number of things in a second."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:
        raise ValueError("it must be a number a second, such as 10")
    return rate


def parse_count(text: str) -> int:
    """Return a number of things, none included."""
    if not text.isdecimal():
        raise ValueError("it must be a number, such as 2")
    return int(text)


def parse_positive(text: str) -> int:
    """Return a number of things, at least one."""
    if not text.isdecimal() or not int(text):
        raise ValueError("it must be a number, at least 1")
    return int(text)


def parse_words(text: str) -> tuple[str, ...]:
    """Return the words of a command line."""
    return tuple(shlex.split(text))


def show_words(words: Iterable[str]) -> str:
    """Return the text that parse_words() reads."""
    return shlex.join(words)


def show_size(size: int) -> str:
    """Return a number of bytes as in 20G."""
    return _in_units(size, " KMGT").rstrip()


def show_memory(mebibytes: int) -> str:
    """Return a number of MiB as in 4G."""
    return _in_units(mebibytes, "MGT")


def memory_text(mebibytes: float) -> str:
    """Return an amount of memory as people say it: 512 MB, 4.2 GB."""
    if mebibytes < 1024:
        return f"{mebibytes:.0f} MB"
    return f"{mebibytes / 1024:.1f}".removesuffix(".0") + " GB"


def _in_units(amount: int, units: str) -> str:
    """A number in the largest unit of which it is a multiple; each is 1024 of the one before."""
    power = 0
    while amount and amount % 1024 == 0 and power < len(units) - 1:
        amount, power = amount // 1024, power + 1
    return f"{amount}{units[power]}"


def show_time(seconds: int) -> str:
    """Return a time as in 12h or 1:30:00."""
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if rest else f"{hours}h"


def show_number(number: float) -> str:
    """Return a number, without a fraction if it has none."""
    return str(int(number)) if number == int(number) else str(number)


AMOUNTS = frozenset(
    (
        *(parse_size, parse_time, parse_memory),
        *(parse_factor, parse_rate, parse_count, parse_positive),
    )
)
"""Those of what may be a mere number."""
