# SPDX-License-Identifier: Apache-2.0
"""Where cwltool is extended: its CommandLineTool, the making of its jobs, the start of a process.

With job.py it is what knows cwltool's internals, and what differs between its releases.
"""

from __future__ import annotations

import functools
import logging
import math
import shutil
from collections.abc import Callable, Iterator, MutableSequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urldefrag

import cwltool.docker
import cwltool.job
import cwltool.process
from cwltool.builder import Builder
from cwltool.command_line_tool import CommandLineTool
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.job import ContainerCommandLineJob, JobBase
from cwltool.loghandler import _logger as cwltool_logger
from cwltool.pathmapper import PathMapper
from cwltool.process import Process, shortname
from cwltool.utils import processes_to_kill
from cwltool.workflow import default_make_tool
from ruamel.yaml.comments import CommentedMap
from schema_salad.ref_resolver import uri_file_path

from cwl_udss.engine.inputs.path_mapper import NumberingPathMapper, tell_apart
from cwl_udss.engine.inputs.remote import RemoteAccess, make_literal
from cwl_udss.engine.jobs.mpi import MpiWish, take_mpi_wish
from cwl_udss.engine.jobs.process import start_tool
from cwl_udss.engine.replacements.bindings import bind_items_alone
from cwl_udss.files import copies
from cwl_udss.files.links import copy_directory
from cwl_udss.images.request import ImageRequest, parse_request
from cwl_udss.report.trace import traced
from cwl_udss.web.addresses import is_remote

_logger = logging.getLogger(__name__)

MakeJob = Callable[..., JobBase]
"""Makes a job: of the directory or URL of the tool's document, and what cwltool makes a job of."""
MakeHostJob = Callable[..., JobBase]
"""Makes a job of a tool without an image: of what cwltool makes a job of."""


class SandboxedTool(CommandLineTool):
    """A CommandLineTool whose jobs with an image run in a sandbox."""

    def __init__(
        self,
        toolpath_object: CommentedMap,
        loading_context: LoadingContext,
        make_job: MakeJob,
        make_host_job: MakeHostJob | None,
    ) -> None:
        """`make_host_job` makes the job of a tool without an image, None if cwltool is to."""
        super().__init__(toolpath_object, loading_context)
        self._make_job = make_job
        self._make_host_job = make_host_job
        self._mpi: MpiWish | None = None
        self.follow: Callable[[Process, JobBase], None] | None = None
        """To be told of each of its jobs."""

    @property
    def updates_inputs(self) -> bool:
        """Whether it may change what it is given, which another step may have made."""
        requirement = self.get_requirement("InplaceUpdateRequirement")[0]
        return bool(requirement and requirement["inplaceUpdate"])

    def image_request(self, default: str | None) -> ImageRequest | None:
        """Return which image the tool is going to ask for; `default` is the one for tools that name
        none."""
        requirement, _ = self.get_requirement("DockerRequirement")
        if requirement is None and default is not None:
            requirement = {"dockerPull": default}
        if requirement is None:
            return None
        return parse_request(requirement, _base(str(self.tool["id"])))

    def needed_bytes(self) -> int:
        """Return how much room the tool's directories need, as far as it does not depend on its
        input."""
        requirement, _ = self.get_requirement("ResourceRequirement")
        asked = ((requirement or {}).get(name) for name in ("tmpdirMin", "outdirMin"))
        return sum(math.ceil(size) << 20 for size in asked if isinstance(size, int | float))

    def job(  # type: ignore[override]
        self, job_order: Any, output_callbacks: Any, runtimeContext: RuntimeContext
    ) -> Iterator[Any]:
        """Yield the tool's job, its expressions evaluated (cwltool's hook)."""
        if self._names_image(runtimeContext):
            self._mpi = self._mpi or take_mpi_wish(self)
        jobs = super().job(job_order, output_callbacks, runtimeContext)
        done = object()
        while True:
            with traced("evaluate", shortname(self.tool["id"])):
                job = next(jobs, done)
            if job is done:
                return
            if self._mpi is not None and isinstance(job, JobBase):
                self._mpi.tell(job, runtimeContext)
            if self.follow is not None and isinstance(job, JobBase):
                self.follow(self, job)
            yield job

    def _init_job(self, joborder: Any, runtime_context: RuntimeContext) -> Builder:
        builder = super()._init_job(joborder, runtime_context)
        tell_apart(builder.files)
        return builder

    def evalResources(
        self, builder: Builder, runtimeContext: RuntimeContext
    ) -> dict[str, int | float]:
        """Return what the tool asks for (cwltool's hook), which is expected to be numbers."""
        try:
            return super().evalResources(builder, runtimeContext)
        except TypeError as error:
            raise WorkflowException(
                f"{self.tool['id']}: its ResourceRequirement asks for what is no number ({error})"
            ) from error

    def _names_image(self, context: RuntimeContext) -> bool:
        requirement, _ = self.get_requirement("DockerRequirement")
        return requirement is not None or bool(context.default_container)

    def make_job_runner(self, runtimeContext: RuntimeContext) -> type[JobBase]:
        """Return what makes a job (cwltool's hook)."""
        default = runtimeContext.default_container
        if default and self.get_requirement("DockerRequirement")[0] is None:
            # cwltool forgets it where packages are looked for (--beta-conda-dependencies).
            self.requirements.insert(0, {"class": "DockerRequirement", "dockerPull": default})
        runner = super().make_job_runner(runtimeContext)
        if issubclass(runner, ContainerCommandLineJob):
            # It may have an image only now (--beta-use-biocontainers).
            self._mpi = self._mpi or take_mpi_wish(self)
            # cwltool only calls what it gets here.
            base = _base(str(self.tool["id"]))
            return cast(type[JobBase], functools.partial(self._make_job, base))
        if self._make_host_job is not None:
            return cast(type[JobBase], self._make_host_job)
        _logger.warning(
            "%s has no DockerRequirement: it runs on this host, in no sandbox "
            "(--default-container gives it an image)",
            self.tool["id"],
        )
        return runner

    def make_path_mapper(
        self,
        reffiles: MutableSequence[Any],
        stagedir: str,
        runtimeContext: RuntimeContext,
        separateDirs: bool,
    ) -> PathMapper:
        """Return what gives inputs their paths (cwltool's hook)."""
        access = runtimeContext.make_fs_access(runtimeContext.basedir)
        if isinstance(access, RemoteAccess):
            access.fetch(reffiles)
        mapper = NumberingPathMapper(reffiles, runtimeContext.basedir, stagedir, separateDirs)
        make_literal(mapper)
        return mapper


def make_tool(
    make_job: MakeJob,
    make_host_job: MakeHostJob | None,
    note: Callable[[SandboxedTool], None],
    toolpath_object: CommentedMap,
    loading_context: LoadingContext,
) -> Process:
    """Return the process for a CWL document (LoadingContext.construct_tool_object)."""
    if toolpath_object.get("class") == "CommandLineTool":
        tool = SandboxedTool(toolpath_object, loading_context, make_job, make_host_job)
        note(tool)
        return tool
    return default_make_tool(toolpath_object, loading_context)


def stop_host_steps() -> None:
    """Ask the steps that run on the host (those without an image) to end."""
    for process in list(processes_to_kill):
        if process.poll() is None:
            process.terminate()


def extend_cwltool() -> None:
    """Put the sandbox where cwltool starts a tool's process, and our log into cwltool's.

    Every job class ends in cwltool.job._job_popen, the one function that starts a process. There is
    no hook before it that could pass file descriptors on, as bwrap needs.
    """
    logging.getLogger("cwl_udss").parent = cwltool_logger
    # They look shutil's functions up there, to stage writable inputs and to move the outputs.
    replaced = {name: getattr(copies, name) for name in ("copy", "copy2", "move")}
    replaced["copytree"] = copy_directory
    for module in (cwltool.docker, cwltool.process):
        module.__dict__["shutil"] = SimpleNamespace(**{**vars(shutil), **replaced})
    bind_items_alone()
    original = cwltool.job._job_popen
    if not isinstance(original, functools.partial):  # it is ours when called a second time
        cwltool.job._job_popen = functools.partial(start_tool, original)


def _base(identifier: str) -> Path | str:
    """Where relative paths in the document begin that an identifier is from: its directory, or its
    URL."""
    document = urldefrag(identifier)[0]
    if document.startswith("file://"):
        return Path(uri_file_path(document)).parent
    return document if is_remote(document) else Path.cwd()
