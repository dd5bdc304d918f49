# SPDX-License-Identifier: Apache-2.0
"""`podman ps`, `logs`, and whether a container is there."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO

from cwl_udss.doors.docker.containers.detaching import MESSAGES, OUTPUT
from cwl_udss.doors.docker.containers.ending import find
from cwl_udss.doors.docker.errors import Program, UsageError
from cwl_udss.doors.docker.options import LOGS, NOTHING, PS
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.docker.templates import as_table, formatted
from cwl_udss.doors.docker.words import ago
from cwl_udss.doors.table import CREATED, EXITED, RUNNING, Entry, State, short

_PAUSE_SECONDS = 0.1
_COLUMNS = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES")
_LONGEST_COMMAND = 20


def list_containers(session: Session, arguments: list[str]) -> int:
    """Print the containers that run, or all."""
    options = DoorParser(PS, f"{session.program.value} ps [OPTIONS]").parse(arguments)
    found = [(entry, session.table.state(entry)) for entry in session.table.all()]
    filters = [text.partition("=")[::2] for text in options.filter or ()]
    shows_all = options.all or any(name == "status" for name, _ in filters)
    rows = [
        _facts(entry, state, whole=bool(options.no_trunc))
        for entry, state in found
        if (shows_all or state.status == RUNNING)
        and all(_fits(entry, state, *one) for one in filters)
    ]
    if options.quiet:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    elif options.format == "json" and session.program is Program.PODMAN:
        known = {row["ID"]: row for row in rows}
        shown = [one for one in found if one[0].id in known or short(one[0].id) in known]
        print(json.dumps([_podman_facts(*one) for one in shown], indent=2))
    elif options.format:
        print(formatted(options.format, rows), end="")
    else:
        names = ("ID", "Image", "Command", "RunningFor", "Status", "Names")
        titles = [] if options.noheading else [_COLUMNS]
        print(as_table([*titles, *([row[name] for name in names] for row in rows)]), end="")
    return 0


def exists(session: Session, arguments: list[str]) -> int:
    """Say by the exit code whether a container is there."""
    parser = DoorParser(NOTHING, f"{session.program.value} container exists CONTAINER")
    parser.add_argument("name")
    return 0 if session.table.find(parser.parse(arguments).name) is not None else 1


def logs(session: Session, arguments: list[str]) -> int:
    """Print what a detached container has said."""
    parser = DoorParser(LOGS, f"{session.program.value} logs [OPTIONS] CONTAINER")
    parser.add_argument("name")
    options = parser.parse(arguments)
    entry = find(session, options.name)
    directory = session.table.log_directory(entry.id)
    ends = ((directory / OUTPUT, sys.stdout.buffer), (directory / MESSAGES, sys.stderr.buffer))
    places = [_copy(path, 0, target, options) for path, target in ends]
    while options.follow:
        is_over = session.table.state(entry).status == EXITED
        follow = argparse.Namespace(tail=None)
        places = [
            _copy(path, place, target, follow)
            for (path, target), place in zip(ends, places, strict=True)
        ]
        if is_over:
            break
        time.sleep(_PAUSE_SECONDS)
    return 0


def _copy(path: Path, place: int, target: BinaryIO, options: argparse.Namespace) -> int:
    """Print what a log has from a place on; return where it ends now."""
    try:
        with path.open("rb") as stream:
            stream.seek(place)
            if options.tail not in (None, "all", "-1"):
                if not options.tail.isdecimal():
                    raise UsageError(f"invalid --tail {options.tail!r}")
                target.writelines(deque(stream, maxlen=int(options.tail)))
            else:
                shutil.copyfileobj(stream, target)
            target.flush()
            return stream.tell()
    except FileNotFoundError:
        return place


def _facts(entry: Entry, state: State, *, whole: bool) -> dict[str, Any]:
    command = " ".join(entry.command)
    if not whole and len(command) > _LONGEST_COMMAND:
        command = f"{command[: _LONGEST_COMMAND - 1]}…"
    return {
        "ID": entry.id if whole else short(entry.id),
        "Image": entry.image,
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(entry.created)),
        "RunningFor": ago(entry.created),
        "Created": int(entry.created),
        "Status": status_words(state),
        "State": state.status,
        "Names": entry.name,
        "Labels": ",".join(f"{name}={value}" for name, value in entry.labels.items()),
        "Mounts": ",".join(str(mount["Destination"]) for mount in entry.mounts),
        "Networks": "host" if entry.network else "none",
        "Ports": "",
        "Pid": state.first or 0,
        "ExitCode": state.exit_code or 0,
    }


def _podman_facts(entry: Entry, state: State) -> dict[str, Any]:
    """What `podman ps --format json` has: lists where a template has words."""
    return {
        **_facts(entry, state, whole=True),
        "Id": entry.id,
        "ImageID": entry.digest.removeprefix("sha256:"),
        "Command": list(entry.command),
        "Names": [entry.name],
        "Labels": dict(entry.labels),
        "Mounts": [str(mount["Destination"]) for mount in entry.mounts],
        "Networks": [],
        "Ports": None,
        "AutoRemove": entry.remove,
        "Exited": state.status == EXITED,
        "ExitedAt": int(state.finished or 0),
        "StartedAt": int(state.started or 0),
    }


def status_words(state: State) -> str:
    """Return how it stands with a container, for a person."""
    if state.status == CREATED:
        return "Created"
    if state.is_running:
        return f"Up {ago(state.started or time.time()).removesuffix(' ago')}"
    ended = f" {ago(state.finished)}" if state.finished else ""
    return f"Exited ({state.exit_code if state.exit_code is not None else 137}){ended}"


def _fits(entry: Entry, state: State, name: str, value: str) -> bool:
    match name:
        case "name":
            return value.strip("^$/") in entry.name
        case "id":
            return entry.id.startswith(value)
        case "status":
            return state.status == value
        case "label":
            wanted, sign, text = value.partition("=")
            return wanted in entry.labels and (not sign or entry.labels[wanted] == text)
        case "ancestor":
            return value in (entry.image, entry.digest, entry.image.partition(":")[0])
    raise UsageError(f"invalid filter {name!r}", "there are name, id, status, label, ancestor")
