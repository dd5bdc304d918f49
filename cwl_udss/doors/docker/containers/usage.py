# SPDX-License-Identifier: Apache-2.0
"""`podman stats` and `top`: what containers use, and their processes."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import psutil

from cwl_udss.doors.docker.containers.ending import find
from cwl_udss.doors.docker.errors import ContainerError
from cwl_udss.doors.docker.options import NOTHING, STATS
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.docker.templates import as_table, formatted
from cwl_udss.doors.docker.words import binary_words
from cwl_udss.doors.table import Entry, each_running, short

_SECONDS = 1.0
_COLUMNS = ("Container", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_TITLES = ("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O")


def stats(session: Session, arguments: list[str]) -> int:
    """Print what containers use, each second until all have ended."""
    parser = DoorParser(STATS, f"{session.program.value} stats [OPTIONS] [CONTAINER...]")
    parser.add_argument("names", nargs="*")
    options = parser.parse(arguments)
    entries = [find(session, name) for name in options.names]
    if not entries:
        entries = [entry for entry, _ in each_running(session.table)]
    times: dict[str, float] = {}
    while True:
        rows = [_facts(session, entry, times, whole=bool(options.no_trunc)) for entry in entries]
        there = [row for row in rows if row]
        if there or not options.names:
            _print(options, there)
        if options.no_stream or not there:
            return 0
        sys.stdout.flush()
        _wait(session, entries)


def _wait(session: Session, entries: list[Entry]) -> None:
    """Wait a second, less if all have ended."""
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        time.sleep(0.05)
        if not any(session.table.state(entry).is_running for entry in entries):
            return


def _print(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    if options.format:
        print(formatted(options.format, rows), end="")
    else:
        lines = [[row[name] for name in _COLUMNS] for row in rows]
        print(as_table([[*_TITLES, "PIDS"], *lines]), end="")


def _facts(
    session: Session, entry: Entry, times: dict[str, float], *, whole: bool
) -> dict[str, Any]:
    """What a container uses now, nothing if it does not run."""
    state = session.table.state(entry)
    if not state.is_running or state.first is None:
        return {}
    processes = _processes(state.first)
    memory, seconds = 0, 0.0
    for process in processes:
        try:
            with process.oneshot():
                memory += process.memory_info().rss
                seconds += sum(process.cpu_times()[:2])
        except psutil.Error:  # it has ended
            continue
    used = max(0.0, seconds - times.get(entry.id, seconds))
    times[entry.id] = seconds
    total = psutil.virtual_memory().total
    id = entry.id if whole else short(entry.id)
    return {
        "ID": id,
        "Container": id,
        "Name": entry.name,
        "CPUPerc": f"{100 * used / _SECONDS:.2f}%",
        "MemUsage": f"{binary_words(memory)} / {binary_words(total)}",
        "MemPerc": f"{100 * memory / total:.2f}%",
        "NetIO": "-- / --",
        "BlockIO": "-- / --",
        "PIDs": str(len(processes)),
    }


def _processes(first: int) -> list[psutil.Process]:
    """The processes of a container, without the sandbox's own."""
    try:
        return psutil.Process(first).children(recursive=True)
    except psutil.Error:
        return []


def top(session: Session, arguments: list[str]) -> int:
    """Print the processes of a container."""
    parser = DoorParser(NOTHING, f"{session.program.value} top CONTAINER")
    parser.add_argument("name")
    entry = find(session, parser.parse(arguments).name)
    state = session.table.state(entry)
    if not state.is_running or state.first is None:
        raise ContainerError(f"container {entry.id} is not running")
    rows = [["PID", "PPID", "COMMAND"]]
    for process in _processes(state.first):
        try:
            command = " ".join(process.cmdline()) or process.name()
            rows.append([str(process.pid), str(process.ppid()), command])
        except psutil.Error:
            continue
    print(as_table(rows), end="")
    return 0
