# SPDX-License-Identifier: Apache-2.0
"""A step as plain data: all that a node needs to run it, and what it says of it afterwards.

STEP/spec.json      the StepSpec, written by the driver
STEP/script, log    the batch job's script, and what it and the batch system have said
STEP/job.json       which job is to run it, a SubmittedJob
STEP/started.json   where it runs; made by the node that runs it, and by one only
STEP/stdout, stderr what the tool said, unless CWL captures it
STEP/outputs/       its output directory, in place by rename when it is whole
STEP/result.json    the StepResult; there when all else is
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cwl_udss.errors import UdssError
from cwl_udss.sandbox import Bind, Usage, read_usage
from cwl_udss.steps.image import StepImage

SPEC = "spec.json"
JOB = "job.json"
STARTED = "started.json"
RESULT = "result.json"
STAGED = "staged"
OUTPUTS = "outputs"
SCRIPT = "script"
LOG = "log"
STDOUT = "stdout"
STDERR = "stderr"


class UnreadableStep(UdssError):
    """A file that describes a step is not there, or is not what was written."""


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """The settings (see config.Settings) that matter where a step runs."""

    store: str
    library: tuple[str, ...]
    scratch: str | None
    scratch_images: int
    runtime: str
    accept: tuple[str, ...]
    required: Mapping[str, str]
    bwrap: str | None


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """What a step is to do. Paths are the host's where nothing else is said."""

    name: str
    """For people: cwltool's name of the job."""
    image: StepImage
    command: tuple[str, ...]
    environment: Mapping[str, str]
    output_directory: str
    """In the sandbox; also its working directory and home."""
    binds: tuple[Bind, ...]
    """All but the output directory and `/tmp`."""
    directories: tuple[str, ...]
    network: bool
    shared_memory_bytes: int | None
    cores: int | None
    stdin: str | None
    stdout: str | None
    """Relative to the output directory, or absolute; None is STEP/stdout. So is `stderr`."""
    stderr: str | None
    time_limit: float | None
    """In seconds."""
    needed_bytes: int
    """What its directories need together."""
    settings: NodeSettings


class StepEnding(enum.Enum):
    """Why a step ended, as far as its node can tell."""

    EXITED = "exited"
    TIME_LIMIT = "time limit"
    NOT_STARTED = "not started"
    """The sandbox was made, but the program could not be executed in it."""
    TERMINATED = "terminated"
    """Somebody asked its job to end: the batch system knows who and why."""
    OUT_OF_MEMORY = "out of memory"
    """The kernel has killed a process for the memory limit of the job's control group."""
    REFUSED = "refused"
    """The node could not run it; `problem` says why."""
    NOT_KEPT = "not kept"
    """It has run, but what it read, said or left could not be passed on; `problem` says why."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """How a step ended."""

    ending: StepEnding
    exit_code: int
    """128 + n for signal n, as shells have it."""
    node: str
    started: float
    """In seconds since 1970, by the node's clock; so is `ended`."""
    ended: float
    usage: Usage | None
    """None if its program was not started, or that could not be found out."""
    outputs: Mapping[str, int | None]
    """All that is in the output directory, by relative path; the size if it is a file."""
    removed: tuple[str, ...] = ()
    """What was taken out of it (see outputs.confine)."""
    problem: str = ""
    """Why it was refused, not kept, or its program not executed; with the node's name."""
    image: str = ""
    """Which one it ran in, for people (see StepImage.described)."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """Who runs a step."""

    node: str
    process: int
    job: str
    """The batch system's id, "" if there is none."""
    time: float
    """In seconds since 1970, by the node's clock."""


@dataclass(frozen=True, kw_only=True)
class SubmittedJob:
    """Which job of which batch system is to run a step."""

    system: str
    job: str
    """Its id, "" while it is being submitted."""
    name: str
    position: int
    """How many steps the job runs before this one."""


def to_json(value: StepSpec | StepResult | Started | SubmittedJob) -> bytes:
    """Return a value as JSON; in ASCII, as names of files may be no valid text."""
    return json.dumps(asdict(value), default=_plain).encode("ascii")


def read_spec(directory: Path) -> StepSpec:
    """Read what a step is to do. Raises UnreadableStep."""
    facts = _read(directory / SPEC)
    try:
        return StepSpec(
            **{
                **facts,
                "image": StepImage(**facts["image"]),
                "command": tuple(facts["command"]),
                "directories": tuple(facts["directories"]),
                "binds": tuple(Bind(**bind) for bind in facts["binds"]),
                "settings": NodeSettings(
                    **{
                        **facts["settings"],
                        "library": tuple(facts["settings"]["library"]),
                        "accept": tuple(facts["settings"]["accept"]),
                    }
                ),
            }
        )
    except (KeyError, TypeError) as error:
        raise _not_ours(directory / SPEC) from error


def read_result(directory: Path) -> StepResult:
    """Read how a step ended. Raises UnreadableStep."""
    facts = _read(directory / RESULT)
    try:
        return StepResult(
            **{
                **facts,
                "ending": StepEnding(facts["ending"]),
                "usage": read_usage(facts["usage"]),
                "removed": tuple(facts["removed"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _not_ours(directory / RESULT) from error


def read_started(directory: Path) -> Started:
    """Read who runs a step. Raises UnreadableStep."""
    facts = _read(directory / STARTED)
    try:
        return Started(**facts)
    except TypeError as error:
        raise _not_ours(directory / STARTED) from error


def read_submitted(path: Path) -> SubmittedJob:
    """Read which job is to run a step. Raises UnreadableStep."""
    try:
        return SubmittedJob(**_read(path))
    except TypeError as error:
        raise _not_ours(path) from error


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"{value!r} is no plain data")


def _read(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_bytes())
    except OSError as error:
        raise UnreadableStep(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _not_ours(path) from error
    if not isinstance(facts, dict):
        raise _not_ours(path)
    return facts


def _not_ours(path: Path) -> UnreadableStep:
    return UnreadableStep(f"{path} is not what cwl-udss writes", "remove it")
