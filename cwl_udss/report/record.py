# SPDX-License-Identifier: Apache-2.0
"""A step that has ended, as plain data: what trace, report and run directory have of it."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cwl_udss.sandbox import Usage, read_usage

SAID_BYTES = 4096
"""How much is kept of the end of what a step has said."""


class Status(enum.Enum):
    """What has become of a step, in Nextflow's words."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CACHED = "CACHED"
    """It has run in an earlier run."""
    ABORTED = "ABORTED"
    """It was ended, or not begun, as the run was."""
    RUNNING = "RUNNING"
    SUBMITTED = "SUBMITTED"
    """It waits for its turn."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a step has asked for. None is what nobody has said."""

    cores: float | None = None
    memory_bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Times:
    """In seconds since 1970; None is what has not been, or is not known."""

    ready: float | None = None
    """When it had all of its inputs."""
    submitted: float | None = None
    """To the batch system, if one has run it."""
    started: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float | None:
        """How long it has run."""
        if self.started is None or self.ended is None:
            return None
        return max(0.0, self.ended - self.started)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a step has ended, as those tell who have run it."""

    exit_code: int | None = None
    ending: str = ""
    """Why: a word or two."""
    node: str = ""
    native_id: str = ""
    """The batch system's, of its job."""
    times: Times = Times()
    usage: Usage | None = None
    asked: Asked | None = None
    """Of the batch system; None is what the tool asks for."""
    directory: str = ""
    """Where its files are, if they are kept."""
    said: str = ""
    """The end of its standard error."""
    key: str = ""
    """What finds its result again."""
    is_cached: bool = False


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One job of a step, of which a scattered one has many."""

    number: int
    """Which of all, from 1 on, in the order in which they were ready."""
    step: str
    """Of the workflow, with those around it: `align`, `call/sort`."""
    index: int | None
    """Which of a scatter, from 1 on."""
    job: str
    """What cwltool calls it."""
    tool: str
    """The document of its tool."""
    status: Status
    asked: Asked
    image: str
    """As the tool asks for it."""
    digest: str
    """Of the image, or what is known of it otherwise."""
    image_bytes: int | None = None
    image_place: str = ""
    """Where it is used from."""
    command: tuple[str, ...]
    problem: str
    """Why it has not run, or not to its end."""
    ran: Ran

    @property
    def name(self) -> str:
        """For people."""
        return self.step if self.index is None else f"{self.step} ({self.index})"

    def line(self) -> str:
        """Return it as a line of JSON; in ASCII, as names of files may be no valid text."""
        return json.dumps(asdict(self), default=_plain)


def read_record(facts: Mapping[str, Any]) -> StepRecord:
    """Return what a line has. Raises TypeError, KeyError or ValueError if that is none."""
    ran = facts["ran"]
    return StepRecord(
        **{
            **facts,
            "status": Status(facts["status"]),
            "asked": Asked(**facts["asked"]),
            "command": tuple(facts["command"]),
            "ran": Ran(
                **{
                    **ran,
                    "times": Times(**ran["times"]),
                    "usage": read_usage(ran["usage"]),
                    "asked": None if ran["asked"] is None else Asked(**ran["asked"]),
                }
            ),
        }
    )


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"{value!r} is no plain data")
