# SPDX-License-Identifier: Apache-2.0
"""cwltool's MPIRequirement, kept from deciding that a tool with an image runs on the host.

Where both are asked for and the engine is not Singularity, cwltool takes one of them away before it
makes a job (Process._init_job): the image, where that is only a hint.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.job import JobBase
from cwltool.mpi import MPIRequirementName
from cwltool.process import Process

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MpiWish:
    """What a tool with an image has said of MPI."""

    requirement: Mapping[str, Any]
    is_required: bool

    def tell(self, job: JobBase, context: RuntimeContext) -> None:
        """Tell a job how many processes it is to have; nothing of a hint, as hints may be ignored.

        Raises WorkflowException if that is no number.
        """
        wanted = self.requirement.get("processes", context.mpi_config.default_nproc)
        processes = job.builder.do_eval(wanted)
        if isinstance(processes, bool) or not isinstance(processes, int) or processes < 0:
            raise WorkflowException(f"processes of MPIRequirement: {processes!r} is no number")
        if processes and not self.is_required:
            _logger.warning(
                "[job %s] runs as one process: MPIRequirement is only a hint, "
                "and MPI programs cannot run in sandboxes yet",
                job.name,
            )
        elif processes:
            job.mpi_procs = processes


def take_mpi_wish(process: Process) -> MpiWish | None:
    """Take the requirement from a tool, so that cwltool does not see it."""
    requirement, is_required = process.get_requirement(MPIRequirementName)
    if requirement is None:
        return None
    process.requirements = [r for r in process.requirements if r["class"] != MPIRequirementName]
    process.hints = [r for r in process.hints if r["class"] != MPIRequirementName]
    return MpiWish(requirement=requirement, is_required=bool(is_required))
