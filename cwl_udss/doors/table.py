# SPDX-License-Identifier: Apache-2.0
"""The containers of one user on this node: what they are called, and how it stands with them.

    containers/ID/container.json    what it is, and never changes
    containers/ID/state.json        how it stands, published whole
    logs/ID/                        what a detached one says
    names/NAME                      a link whose text is the ID: whoever makes it has the name

No lock: a name is had by making its link. What a process that was killed has left is told by that
process, which is gone, or was before this machine started.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

from cwl_udss.errors import UdssError
from cwl_udss.files.scratch import node_directory
from cwl_udss.records import record
from cwl_udss.sandbox import SIGNAL_OFFSET
from cwl_udss.settings.settings import Settings

CREATED, RUNNING, EXITED = "created", "running", "exited"
_KILLED = SIGNAL_OFFSET + 9
_SHORT = 12
_MANY = 64
"""Of so many, those of dead processes are removed before another is added."""


class NameInUse(UdssError):
    """Another container has the name."""


@record(frozen=True, kw_only=True)
class Entry:
    """One container, as the table knows it."""

    id: str
    name: str
    image: str
    """As it was asked for."""
    digest: str
    command: tuple[str, ...]
    created: float
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mapping[str, Any], ...] = ()
    network: bool = True
    remove: bool = False
    """Whether it goes at its end."""
    detached: bool = False
    arguments: tuple[str, ...] = ()
    """What it was made with, for one that is started later."""
    stop_signal: str = "TERM"
    stop_seconds: float = 10.0
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    user: tuple[int, int] | None = None


@record(frozen=True, kw_only=True)
class State:
    """How it stands with a container."""

    status: str = CREATED
    owner: tuple[int, int] | None = None
    """The process that runs it, and when that began, in ticks since this machine started."""
    boot: str = ""
    first: int | None = None
    """The first process of its namespaces, and how many generations are not the command's."""
    generations: int = 1
    exit_code: int | None = None
    is_over_memory: bool = False
    """Whether it was killed for having more than it might."""
    started: float | None = None
    finished: float | None = None
    problem: str = ""

    @property
    def is_running(self) -> bool:
        """Whether its processes run."""
        return self.status == RUNNING


class Table:
    """The containers of this user on this node."""

    def __init__(self, directory: Path) -> None:
        self._containers = directory / "containers"
        self._names = directory / "names"
        self._logs = directory / "logs"

    def add(self, entry: Entry) -> None:
        """Put a container in, with no state but that it was created. Raises NameInUse."""
        self._containers.mkdir(exist_ok=True)
        self._names.mkdir(exist_ok=True)
        if len(os.listdir(self._containers)) > _MANY:
            self.sweep()
        made = self._containers / f".{entry.id}"
        made.mkdir()
        _publish(made / "container.json", asdict(entry))
        _publish(made / "state.json", asdict(State(owner=_this_process(), boot=boot())))
        made.rename(self._containers / entry.id)
        try:
            self._take_name(entry)
        except BaseException:
            self._remove_place(entry.id)
            raise

    def _take_name(self, entry: Entry) -> None:
        link = self._names / entry.name
        for _ in range(2):
            try:
                link.symlink_to(entry.id)
                return
            except FileExistsError:
                holder = self._of_id(os.readlink(link)) if link.is_symlink() else None
                if holder is not None and not self._is_left(holder):
                    raise NameInUse(
                        f'the container name "{entry.name}" is already in use by {holder.id}. '
                        "You have to remove that container to be able to reuse that name",
                        "that name is already in use",
                    ) from None
                if holder is not None:
                    self.remove(holder)
                else:
                    link.unlink(missing_ok=True)
        raise NameInUse(f'the container name "{entry.name}" is already in use')

    def find(self, text: str) -> Entry | None:
        """Return the container of a name, an id, or the beginning of one."""
        if not text or "/" in text:
            return None
        with contextlib.suppress(OSError):
            entry = self._of_id(os.readlink(self._names / text))
            if entry is not None:
                return entry
        entry = self._of_id(text)
        if entry is not None:
            return entry
        found = [name for name in self._ids() if name.startswith(text)]
        return self._of_id(found[0]) if len(found) == 1 else None

    def all(self) -> list[Entry]:
        """Return all that are there, those of dead processes that were to go removed."""
        self.sweep()
        entries = filter(None, map(self._of_id, self._ids()))
        return sorted(entries, key=lambda entry: entry.created, reverse=True)

    def sweep(self) -> None:
        """Remove what dead processes have left and had meant to remove."""
        for name in self._ids():
            entry = self._of_id(name)
            if entry is None:
                self._remove_place(name)
            elif self._is_left(entry):
                self.remove(entry)

    def state(self, entry: Entry) -> State:
        """Return how it stands with a container, whatever its process had to say last."""
        try:
            facts = json.loads((self._containers / entry.id / "state.json").read_bytes())
        except (OSError, ValueError):
            return State(status=EXITED)
        owner = tuple(facts.pop("owner") or ()) or None
        state = State(owner=owner, **facts)
        if state.status == EXITED or (state.status == CREATED and not entry.remove):
            return state
        if state.boot == boot() and owner is not None and _began(owner[0]) == owner[1]:
            return state
        return replace(state, status=EXITED, exit_code=_KILLED, first=None)

    def set_state(self, id: str, state: State) -> None:
        """Publish how it stands with a container."""
        _publish(self._containers / id / "state.json", asdict(state))

    def log_directory(self, id: str) -> Path:
        """Return where what a detached container says is kept, made if need be."""
        place = self._logs / id
        place.mkdir(parents=True, exist_ok=True)
        return place

    def remove(self, entry: Entry) -> None:
        """Forget a container."""
        link = self._names / entry.name
        with contextlib.suppress(OSError):
            if os.readlink(link) == entry.id:
                link.unlink()
        self._remove_place(entry.id)

    def _remove_place(self, name: str) -> None:
        shutil.rmtree(self._containers / name, ignore_errors=True)
        shutil.rmtree(self._logs / name, ignore_errors=True)

    def _is_left(self, entry: Entry) -> bool:
        return entry.remove and self.state(entry).status == EXITED

    def _ids(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [name for name in os.listdir(self._containers) if name[0] != "."]
        return []

    def _of_id(self, id: str) -> Entry | None:
        try:
            facts = json.loads((self._containers / id / "container.json").read_bytes())
        except (OSError, ValueError):
            return None
        for name in ("command", "mounts", "arguments"):
            facts[name] = tuple(facts[name])
        facts["user"] = None if facts["user"] is None else tuple(facts["user"])
        return Entry(**facts)


def open_table(settings: Settings) -> Table:
    """Return this user's table. Its place depends on no variable, so that a caller finds a
    container that another has started."""
    return Table(node_directory(settings.scratch, {}))


def new_id() -> str:
    """Return an id for a container."""
    return os.urandom(32).hex()


def short(id: str) -> str:
    """Return what people see of an id."""
    return id[:_SHORT]


def running(first: tuple[int, int] | None) -> State:
    """Return the state of a container that this process runs."""
    number, generations = first or (None, 1)
    return State(
        status=RUNNING,
        owner=_this_process(),
        boot=boot(),
        first=number,
        generations=generations,
        started=time.time(),
    )


def boot() -> str:
    """Return what is another each time that this machine starts."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _this_process() -> tuple[int, int]:
    return os.getpid(), _began(os.getpid()) or 0


def _began(process: int) -> int | None:
    """When a process began (proc_pid_stat(5), starttime), None if there is none."""
    try:
        with open(f"/proc/{process}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[19])
    except OSError:
        return None


def _publish(path: Path, facts: Mapping[str, Any]) -> None:
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.write_text(json.dumps(facts))
    made.replace(path)


def each_running(table: Table) -> Iterator[tuple[Entry, State]]:
    """Give the containers that run, each with how it stands."""
    for entry in table.all():
        state = table.state(entry)
        if state.is_running:
            yield entry, state
