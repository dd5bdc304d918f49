# SPDX-License-Identifier: Apache-2.0
"""What a step asks of the batch system: what CWL says of it, the hint `udss:Batch`, the settings.

$namespaces: {udss: "urn:cwl-udss:"}
hints:
udss:Batch: {queue: long, walltime: "12:00:00"}
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cwl_udss.batch.jobs import Wish
from cwl_udss.batch.systems.system import BatchError, Placement, Resources
from cwl_udss.settings.quantities import (
    parse_count,
    parse_factor,
    parse_memory,
    parse_positive,
    parse_time,
    parse_words,
)
from cwl_udss.settings.settings import Settings

NAMESPACE = "urn:cwl-udss:"
HINT = f"{NAMESPACE}Batch"
# A tool that passes its own time limit is ended by its node, which then has time to say so.
_MARGIN_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Said:
    """What CWL says of a step; None if it says nothing."""

    cores: float | None
    memory: float | None
    """MiB."""
    time_limit: float | None
    """Seconds."""
    gpus: int = 0


def make_wish(said: Said, hint: Mapping[str, Any], settings: Settings) -> Wish:
    """Return what to ask for a step; `hint` is the content of its `udss:Batch`.

    A hint goes before CWL's own requirements, so that a site can correct them without touching the
    workflow; these before the settings. Raises BatchError for a hint that means nothing.
    """
    asked = _parse_hint(hint)
    limit = None if said.time_limit is None else said.time_limit + _MARGIN_SECONDS
    cores = asked.get("cores") or said.cores or settings.batch_cores or 1
    memory = asked.get("memory") or said.memory or settings.batch_memory
    walltime = asked.get("walltime") or limit or settings.batch_walltime
    return Wish(
        resources=Resources(
            cores=max(1, math.ceil(cores)),
            memory=None if memory is None else math.ceil(memory),
            walltime=None if walltime is None else math.ceil(walltime),
            gpus=said.gpus,
        ),
        placement=Placement(
            queue=asked.get("queue", settings.batch_queue),
            account=asked.get("account", settings.batch_account),
            project=asked.get("project", settings.batch_project),
            chunk=asked.get("chunk", settings.batch_chunk),
            options=asked.get("options", settings.batch_options),
            uses_select=settings.batch_select,
        ),
        name_prefix=asked.get("name", settings.batch_name),
        retries=asked.get("retries", settings.retries),
        retry_scale=asked.get("retryScale", settings.retry_scale),
    )


_FIELDS: Mapping[str, Callable[[str], Any]] = {
    "queue": str,
    "account": str,
    "project": str,
    "chunk": str,
    "options": parse_words,
    "name": str,
    "cores": parse_positive,
    "memory": parse_memory,
    "walltime": parse_time,
    "retries": parse_count,
    "retryScale": parse_factor,
}


def _parse_hint(hint: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in hint.items():
        name = key.removeprefix(NAMESPACE).removeprefix("udss:")
        if name == "class":
            continue
        if name not in _FIELDS:
            nearest = difflib.get_close_matches(name, _FIELDS, n=1, cutoff=0)[0]
            raise BatchError(f"udss:Batch has no field {name!r}", f"did you mean {nearest!r}?")
        try:
            is_list = isinstance(value, list)
            values[name] = tuple(map(str, value)) if is_list else _FIELDS[name](str(value))
        except ValueError as error:
            raise BatchError(f"{name} of udss:Batch is {value!r}", str(error)) from error
    return values
