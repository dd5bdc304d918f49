# SPDX-License-Identifier: Apache-2.0
"""What a pilot's allocations have, and what a step gets of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cwl_udss.batch.systems.system import BatchError, Resources
from cwl_udss.machine.quantities import counted, memory_text
from cwl_udss.machine.resources import available_resources
from cwl_udss.settings.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Of each allocation, and how many there may be."""

    nodes: int
    cores: int
    """Of a node."""
    step_cores: int
    """What each step gets."""
    step_memory: int | None
    """MiB; None if nobody has said."""
    most: int
    """How many allocations."""

    @property
    def steps_per_node(self) -> int:
        """How many steps a node runs at once."""
        return self.cores // self.step_cores

    def check(self, asked: Resources) -> None:
        """Raise BatchError for a step that asks for more than it gets."""
        if asked.cores > self.step_cores:
            raise BatchError(
                f"it asks for {counted(asked.cores, 'core')}, and a worker of the pilot has "
                f"{self.step_cores}",
                "raise --udss-pilot-cores",
            )
        if asked.memory and self.step_memory and asked.memory > self.step_memory:
            raise BatchError(
                f"it asks for {memory_text(asked.memory)} of memory, and a worker of the pilot has "
                f"{memory_text(self.step_memory)}",
                "raise --udss-batch-memory, which is a node's, or --udss-pilot-cores, so that "
                "fewer steps share it",
            )

    def wanted(self, *, steps: int, living: int, failed: int) -> int:
        """Return how many allocations to ask for, when so many steps are to be run, so many
        allocations wait or run, and so many have ended before they were of any use."""
        needed = math.ceil(steps / (self.nodes * self.steps_per_node))
        return max(0, min(needed, self.most - failed) - living)


def plan_capacity(settings: Settings, environment: Mapping[str, str]) -> Capacity:
    """Return what the settings say. Raises BatchError if no step can ever be run so."""
    is_here = settings.batch == "local"
    here = available_resources(environment)
    step_cores = settings.pilot_cores
    # Of other machines nobody can tell.
    cores = settings.batch_cores or (here.cores if is_here else max(here.cores, step_cores))
    if step_cores > cores:
        said_by = "--udss-batch-cores" if settings.batch_cores else "this machine"
        raise BatchError(
            f"a step gets {counted(step_cores, 'core')} (--udss-pilot-cores), a node has {cores} "
            f"({said_by})",
            "no step could ever be run",
        )
    memory = here.ram if is_here else None
    if settings.batch_memory:
        memory = settings.batch_memory // (cores // step_cores)
    return Capacity(
        nodes=settings.pilot_nodes,
        cores=cores,
        step_cores=step_cores,
        step_memory=memory,
        most=settings.pilot_allocations,
    )
