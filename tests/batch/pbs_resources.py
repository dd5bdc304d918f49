# SPDX-License-Identifier: Apache-2.0
"""What jobs ask for, and where it is free."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pbs_settings import PbsNode

_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_NUMBERS = ("ncpus", "ngpus", "mpiprocs", "ompthreads", "nodect", "naccelerators")
_SIZES = ("mem", "vmem", "pmem", "pvmem", "file")
_TIMES = ("walltime", "cput", "pcput", "min_walltime", "max_walltime")
_TEXTS = ("arch", "host", "vnode", "place", "select", "nodes", "software")
_ILLEGAL = "Illegal attribute or resource value"
CONSUMED = ("ncpus", "mem", "ngpus")


class RefusedError(Exception):
    """A request is refused, with one of PBS's numbers (see its pbs_error.h) and a text."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number
        self.text = text


@dataclass(frozen=True)
class Chunk:
    """One chunk of a select statement."""

    resources: tuple[tuple[str, str], ...]

    def number(self, name: str, otherwise: int = 0) -> int:
        """A resource's amount; memory is in kilobytes."""
        value = dict(self.resources).get(name)
        if value is None:
            return otherwise
        return kilobytes(value) if name in _SIZES else int(value)


@dataclass(frozen=True)
class Request:
    """What a job needs at once: chunks, and how they are laid out."""

    chunks: tuple[Chunk, ...]
    place: frozenset[str]


@dataclass
class NodeState:
    """A node and what of it is in use."""

    node: PbsNode
    up: bool = True
    exclusive: bool = False
    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CONSUMED, 0))
    slots: set[int] = field(default_factory=set)

    @property
    def total(self) -> dict[str, int]:
        """What it has."""
        node = self.node
        return {"ncpus": node.ncpus, "mem": kilobytes(node.mem), "ngpus": node.ngpus or 0}

    def free(self) -> dict[str, int]:
        """What of it is not in use."""
        return {name: amount - self.used[name] for name, amount in self.total.items()}

    def take_slot(self) -> int:
        """The lowest number that no job on this node has."""
        slot = next(number for number in range(len(self.slots) + 1) if number not in self.slots)
        self.slots.add(slot)
        return slot


Placement = list[tuple[NodeState, Chunk]]


def kilobytes(value: str) -> int:
    """A size in kilobytes, rounded up. Raises ValueError."""
    match = re.fullmatch(r"(\d+)([kmgtp]?)([bw]?)", value.lower())
    if match is None:
        raise ValueError(value)
    size = int(match[1]) << _UNITS[match[2]]
    return -(-size * (8 if match[3] == "w" else 1) // 1024)


def seconds(value: str) -> int:
    """A time in seconds. Raises ValueError."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", value):
        raise ValueError(value)
    result = 0.0
    for part in value.split(":"):
        result = 60 * result + float(part)
    return int(result)


def clock(value: int) -> str:
    """Seconds, as PBS writes them."""
    return f"{value // 3600:02}:{value // 60 % 60:02}:{value % 60:02}"


def parse_resources(
    given: Mapping[str, str], nodes: Iterable[PbsNode]
) -> tuple[dict[str, str], Request]:
    """Return a job's Resource_List, and what it needs. Raises RefusedError."""
    known = {*_NUMBERS, *_SIZES, *_TIMES, *_TEXTS}
    if all(node.ngpus is None for node in nodes):
        known.discard("ngpus")
    listed = {name: _checked(name, value, known, "Resource_List.") for name, value in given.items()}
    for old in ("nodes", *CONSUMED, "mpiprocs"):
        if old in given and ("select" in given or "place" in given):
            if old == "nodes":
                raise RefusedError(15110, f"Cannot be used with select or place: {old}")
            text = '"-lresource=" cannot be used with "select" or "place", resource is'
            raise RefusedError(15109, f"{text}: {old}")
    if "nodes" in given:
        raise RefusedError(15035, "the stand-in for PBS has no -l nodes")
    if "place" in given and "select" not in given:
        raise RefusedError(15111, 'Cannot have "place" without "select"')
    if "select" in given:
        chunks = _parse_select(given["select"], known)
        listed.setdefault("place", "free")
    else:
        old_style = [(name, given[name]) for name in ("ncpus", "mem", "ngpus") if name in given]
        chunk = Chunk(tuple({"ncpus": "1", **dict(old_style)}.items()))
        chunks = (chunk,)
        listed["select"] = "1:" + ":".join(f"{name}={value}" for name, value in chunk.resources)
        listed["place"] = "pack"
    listed.update(_totals(chunks))
    request = Request(chunks, frozenset(listed["place"].split(":")))
    return dict(sorted(listed.items())), request


def _checked(name: str, value: str, known: set[str], prefix: str) -> str:
    if name not in known:
        if prefix == "Resource_List.":
            raise RefusedError(15035, f"Unknown resource {prefix}{name}")
        raise RefusedError(15035, f"Unknown resource: {name}")
    try:
        if name in _NUMBERS and not value.isdigit():
            raise ValueError(value)
        if name in _SIZES:
            kilobytes(value)
        if name in _TIMES:
            return clock(seconds(value))
    except ValueError:
        raise RefusedError(15014, f"{_ILLEGAL} {prefix}{name}") from None
    return value


def _parse_select(select: str, known: set[str]) -> tuple[Chunk, ...]:
    chunks: list[Chunk] = []
    for part in select.split("+"):
        first, *rest = part.split(":")
        count = int(first) if first.isdigit() else 1
        resources = {}
        for text in rest if first.isdigit() else (first, *rest):
            name, equals, value = text.partition("=")
            if not equals:
                raise RefusedError(
                    15014, "Illegal attribute or resource value Resource_List.select"
                )
            resources[name] = _checked(name, value, known, "select.")
        chunks += [Chunk(tuple({"ncpus": "1", **resources}.items()))] * count
    return tuple(chunks)


def _totals(chunks: Sequence[Chunk]) -> dict[str, str]:
    totals = {"nodect": str(len(chunks))}
    for name in ("ncpus", "ngpus", "mpiprocs"):
        if any(name in dict(chunk.resources) for chunk in chunks):
            totals[name] = str(sum(chunk.number(name) for chunk in chunks))
    sizes = [dict(chunk.resources)["mem"] for chunk in chunks if "mem" in dict(chunk.resources)]
    if len(sizes) == 1:
        totals["mem"] = sizes[0]
    elif sizes:
        totals["mem"] = f"{sum(map(kilobytes, sizes))}kb"
    return totals


def place(request: Request, nodes: Sequence[NodeState], *, empty: bool = False) -> Placement | None:
    """Where a request fits now or, with `empty`, on nodes that nothing else would use."""
    free = {}
    for state in nodes:
        if empty:
            free[state.node.name] = state.total
        elif state.up and not state.exclusive and not ("excl" in request.place and state.slots):
            free[state.node.name] = state.free()
    placement: Placement = []
    for chunk in request.chunks:
        chosen = [state.node.name for state, _ in placement]
        for state in nodes:
            if _takes(state.node.name, chunk, free, chosen, request.place):
                placement.append((state, chunk))
                for name in CONSUMED:
                    free[state.node.name][name] -= chunk.number(name)
                break
        else:
            return None
    return placement


def _takes(
    node: str,
    chunk: Chunk,
    free: Mapping[str, Mapping[str, int]],
    chosen: Sequence[str],
    layout: frozenset[str],
) -> bool:
    wanted = dict(chunk.resources)
    if node not in free or {wanted.get("host", node), wanted.get("vnode", node)} != {node}:
        return False
    if "scatter" in layout and node in chosen:
        return False
    if "pack" in layout and chosen and node not in chosen:
        return False
    return all(free[node][name] >= chunk.number(name) for name in CONSUMED)


def why_not(request: Request, nodes: Sequence[NodeState]) -> str:
    """The scheduler's comment on a job that it does not start."""
    never = place(request, nodes, empty=True) is None
    prefix = "Can Never Run" if never else "Not Running"
    for name in CONSUMED:
        total = sum(state.total[name] for state in nodes)
        available = total if never else sum(state.free()[name] for state in nodes if state.up)
        needed = sum(chunk.number(name) for chunk in request.chunks)
        if needed > available:
            amounts = (_amount(name, value) for value in (needed, available, total))
            text = "R: {} A: {} T: {}".format(*amounts)
            return f"{prefix}: Insufficient amount of resource: {name} ({text})"
    return f"{prefix}: Not enough {'total' if never else 'free'} nodes available"


def _amount(name: str, value: int) -> str:
    if name != "mem":
        return str(value)
    for unit, letter in ((30, "t"), (20, "g"), (10, "m")):
        if value and value % (1 << unit) == 0:
            return f"{value >> unit}{letter}b"
    return f"{value}kb"


def vnodes(placement: Placement) -> str:
    """The value of exec_vnode."""
    parts = []
    for state, chunk in placement:
        amounts = [
            f"{name}={chunk.number(name)}{'kb' if name == 'mem' else ''}"
            for name in CONSUMED
            if name in dict(chunk.resources)
        ]
        parts.append(f"({':'.join((state.node.name, *amounts))})")
    return "+".join(parts)
