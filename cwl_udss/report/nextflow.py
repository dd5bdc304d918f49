# SPDX-License-Identifier: Apache-2.0
"""A step as a line of Nextflow's trace, with its columns and in its words.

https://www.nextflow.io/docs/latest/reports.html#trace-file; the text of amounts is that of its
Duration and MemoryUnit. What is for people there is what programs read, too.
"""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Callable

from cwl_udss.report.record import Asked, StepRecord

ABSENT = "-"
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def show_duration(seconds: float) -> str:
    """Return a time as in `257ms`, `3.5s` or `1h 2m 3s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 59_950:
        return f"{_one_decimal(milliseconds / 1000)}s"
    rest = round(seconds)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts)


def show_memory(size: int) -> str:
    """Return an amount as in `256.3 MB`, of which 1 KB is 1,024 bytes."""
    if size == 0:
        return "0"
    power = min((size.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{_one_decimal(size / (1 << 10 * power))} {_UNITS[power]}"


def show_time(time: float) -> str:
    """Return a moment, of the zone in which this machine is."""
    local = datetime.datetime.fromtimestamp(time)
    return local.isoformat(sep=" ", timespec="milliseconds")


def show_percent(share: float) -> str:
    """Return a part of one processor."""
    return f"{100 * share:.1f}%"


def _one_decimal(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


_RAW: dict[Callable[..., str], Callable[..., str]] = {
    show_duration: lambda seconds: str(round(seconds * 1000)),
    show_memory: str,
    show_time: lambda time: str(math.floor(time * 1000)),
    show_percent: lambda share: f"{100 * share:.1f}",
}


def processor_share(record: StepRecord) -> float | None:
    """Return how many processors a step has kept busy while it ran."""
    seconds, usage = record.ran.times.seconds, record.ran.usage
    return usage.processor_seconds / seconds if usage and seconds else None


def task_hash(record: StepRecord) -> str:
    """Return what tells it from others, in the form of Nextflow's directories."""
    what = "\0".join((record.job, record.digest, *record.command))
    made = hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()
    digits = record.ran.key or made
    return f"{digits[:2]}/{digits[2:8]}"


def asked_for(record: StepRecord) -> Asked:
    """Return what it has asked for: of the batch system, if that has run it."""
    return record.ran.asked or record.asked


def _submitted(record: StepRecord) -> float | None:
    times = record.ran.times
    return times.ready if times.submitted is None else times.submitted


def _duration(record: StepRecord) -> float | None:
    begun, ended = _submitted(record), record.ran.times.ended
    return None if begun is None or ended is None else max(0.0, ended - begun)


def _used(name: str) -> Callable[[StepRecord], object]:
    return lambda record: None if record.ran.usage is None else getattr(record.ran.usage, name)


def _memory_source(record: StepRecord) -> str | None:
    usage = record.ran.usage
    return usage.memory_source.value if usage and usage.memory_source else None


def _unknown(record: StepRecord) -> None:
    """Nobody can say it: what a program has reserved (peak_vmem) says nothing, and what it has read
    and written by system calls is counted of no process to its end."""


_COLUMNS: tuple[tuple[str, Callable[..., str], Callable[[StepRecord], object]], ...] = (
    ("task_id", str, lambda record: record.number),
    ("hash", str, task_hash),
    ("native_id", str, lambda record: record.ran.native_id),
    ("name", str, lambda record: record.name),
    ("status", str, lambda record: record.status.value),
    ("exit", str, lambda record: record.ran.exit_code),
    ("submit", show_time, _submitted),
    ("duration", show_duration, _duration),
    ("realtime", show_duration, lambda record: record.ran.times.seconds),
    ("%cpu", show_percent, processor_share),
    ("peak_rss", show_memory, _used("memory_bytes")),
    ("peak_vmem", show_memory, _unknown),
    ("rchar", show_memory, _unknown),
    ("wchar", show_memory, _unknown),
    # What Nextflow has if it is asked for.
    ("process", str, lambda record: record.step),
    ("tag", str, lambda record: record.index),
    ("start", show_time, lambda record: record.ran.times.started),
    ("complete", show_time, lambda record: record.ran.times.ended),
    ("cpus", "{:g}".format, lambda record: asked_for(record).cores),
    ("memory", show_memory, lambda record: asked_for(record).memory_bytes),
    ("time", show_duration, lambda record: asked_for(record).seconds),
    ("container", str, lambda record: record.image),
    ("hostname", str, lambda record: record.ran.node),
    ("workdir", str, lambda record: record.ran.directory),
    ("read_bytes", show_memory, _used("read_bytes")),
    ("write_bytes", show_memory, _used("written_bytes")),
    # Our own.
    ("job", str, lambda record: record.job),
    ("digest", str, lambda record: record.digest),
    ("ending", str, lambda record: record.ran.ending),
    ("user_time", show_duration, _used("user_seconds")),
    ("system_time", show_duration, _used("system_seconds")),
    ("largest_rss", show_memory, _used("largest_bytes")),
    ("memory_source", str, _memory_source),
    ("major_faults", str, _used("major_faults")),
    ("processes", str, _used("processes")),
)

HEAD = "\t".join(name for name, _, _ in _COLUMNS)


def trace_line(record: StepRecord, *, is_raw: bool) -> str:
    """Return a step's line; with numbers of milliseconds and bytes if it is to be raw."""
    texts = []
    for _, show, get in _COLUMNS:
        value = get(record)
        shown = _RAW.get(show, show) if is_raw else show
        # A name may have tabs and newlines.
        texts.append(ABSENT if value in (None, "") else " ".join(shown(value).split()) or ABSENT)
    return "\t".join(texts)
