# SPDX-License-Identifier: Apache-2.0
"""A job of cwltool that runs in a sandbox: staged and collected by cwltool as for Docker.

Knows cwltool's internals, as tool.py does.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.stdfsaccess import StdFsAccess

from cwl_udss.engine.inputs.overlays import collect_opened, open_overlaid
from cwl_udss.engine.inputs.path_mapper import open_literals
from cwl_udss.engine.jobs.collecting import collected, record_checksums
from cwl_udss.engine.jobs.file_access import CollectingAccess
from cwl_udss.engine.jobs.process import Environment, this_thread
from cwl_udss.engine.jobs.recording import ran_from_cache, ran_here
from cwl_udss.engine.jobs.reporting import (
    conclude,
    fail,
    report_failure,
    report_not_executed,
    report_removed,
    staging,
)
from cwl_udss.engine.jobs.volumes import JobWithBinds
from cwl_udss.engine.jobs.wishes import (
    check_wishes,
    cpu_limit,
    means_success,
    memory_limit,
    shared_memory_bytes,
    whole_cores,
)
from cwl_udss.errors import UdssError
from cwl_udss.images.manifests.command import image_command, image_environment
from cwl_udss.images.request import ImageRequest, parse_request
from cwl_udss.images.store.image import StoredImage
from cwl_udss.machine.resources import memory_kills
from cwl_udss.report.trace import traced
from cwl_udss.sandbox import TEMPORARY_DIRECTORY, Ending, RootFilesystem, Sandbox
from cwl_udss.steps.cache import StepCache
from cwl_udss.steps.key import Contents, Step
from cwl_udss.steps.reuse import StepReuse
from cwl_udss.steps.shared import Steps
from cwl_udss.steps.streams import StreamPaths
from cwl_udss.surroundings.identity import identity_files
from cwl_udss.surroundings.outputs import View
from cwl_udss.surroundings.programs import why_not_executed

_logger = logging.getLogger(__name__)


class SandboxedJob(JobWithBinds):
    """A job in a sandbox, staged as cwltool stages for Docker."""

    def __init__(
        self, steps: Steps, cache: StepCache | None, base: Path | str, *arguments: Any
    ) -> None:
        """`base` is the directory of the tool's document, or its URL."""
        super().__init__(*arguments)
        self._steps = steps
        self._cache = cache
        self._contents = cache.contents if cache is not None else None
        self._reuse: StepReuse | None = None
        self._base = base
        self._image: StoredImage | None = None
        self._sandbox: Sandbox | None = None

    def run(
        self, runtimeContext: RuntimeContext, tmpdir_lock: threading.Lock | None = None
    ) -> None:
        """Run the job; an image that cannot be had fails it like a tool that fails."""
        try:
            with self.noting_problem(), traced("image", self.name):
                check_wishes(self)
                self.image_name = self._request().name
                self._image = self._steps.image(self._request())
                self.note_image(self._image)
                self._get_ready(self._image)
        except UdssError as error:
            fail(self, error, runtimeContext)
            return
        if not self._may_be_cached(runtimeContext):
            self._cache = None
        # What would load the host's packages (SoftwareRequirement): a sandbox does not show them.
        self.builder.job_script_provider = None
        super().run(runtimeContext, tmpdir_lock)

    def _setup(self, runtimeContext: RuntimeContext) -> None:
        with traced("stage", self.name), staging(self.name):
            super()._setup(runtimeContext)
            if self.generatemapper is not None:
                for opened in open_overlaid(self.generatemapper, self._steps.made.is_followed):
                    collect_opened(self.pathmapper, opened)

    def _get_ready(self, image: StoredImage) -> None:
        """Have ready what the job needs on this machine. Raises UdssError."""
        self._steps.root(image)
        self._steps.runtime()

    def _may_be_cached(self, context: RuntimeContext) -> bool:
        assert self._image is not None
        if self._cache is None or not self._cache.is_enabled or self.inplace_update:
            return False
        reuse = self.get_requirement("WorkReuse")[0]
        if reuse is not None and not self.builder.do_eval(reuse["enableReuse"]):
            return False
        reason = ""
        if not self._image.identity:
            reason = "its image is a directory, which may have changed"
        elif context.secret_store is not None and context.secret_store.has_secret(self.joborder):
            reason = "it is given a secret"
        if reason:
            _logger.info("[job %s] is not cached: %s", self.name, reason)
        return not reason

    def get_from_requirements(self, *arguments: Any, **keywords: Any) -> str:
        """Return what identifies the image in the log and in provenance (cwltool's hook)."""
        return self._request().name

    def _request(self) -> ImageRequest:
        requirement = self.get_requirement("DockerRequirement")[0]
        return parse_request(requirement or {}, self._base)

    def create_runtime(
        self, env: MutableMapping[str, str], runtimeContext: RuntimeContext
    ) -> tuple[list[str], str | None]:
        """Make the sandbox (cwltool's hook). What is returned only shows in the log."""
        assert self._image is not None
        with traced("stage", self.name), staging(self.name):
            self._make_sandbox(self._image, env, runtimeContext)
        return ["cwl-udss", "run"], None

    def _make_sandbox(
        self, image: StoredImage, env: MutableMapping[str, str], context: RuntimeContext
    ) -> None:
        env.clear()
        env.update(image_environment(image.config))
        env.update(self.environment)
        root, files = self._root(image)
        self._sandbox = Sandbox(
            root=root,
            command=(),
            environment={},
            working_directory=self.builder.outdir,
            directories=(self.builder.stagedir, *self._literal_directories()),
            binds=self._binds(context),
            files=files,
            network=self.networkaccess,
            shared_memory_bytes=shared_memory_bytes(self.builder),
            cores=whole_cores(self.builder),
            cpu_limit=cpu_limit(self, self._steps.limited),
            memory_limit=memory_limit(self, self._steps.limited),
        )

    def _root(self, image: StoredImage) -> tuple[RootFilesystem, dict[str, bytes]]:
        """Return the root filesystem, and the files that are to hide some of its own."""
        root = self._steps.root(image)
        home = self.builder.outdir
        return root, identity_files(root.here, home=home, network=self.networkaccess)

    def _execute(self, *arguments: Any, **keywords: Any) -> None:
        this_thread.job = self
        self.collect_outputs = functools.partial(
            self._collect_and_keep, self._contents, self.collect_outputs
        )
        try:
            super()._execute(*arguments, **keywords)
        finally:
            this_thread.job = None

    def complete(self, command: list[str], environment: Environment, script: str | None) -> None:
        """Add what cwltool decides last: the tool's command line and its environment."""
        assert self._image is not None
        assert self._sandbox is not None
        self._sandbox = replace(
            self._sandbox,
            command=image_command(self._image.config, tuple(command[3:])),
            environment=environment,
        )
        self._collect_from(self._view())

    def execute(self, streams: StreamPaths) -> int:
        """Run the tool's command line in the sandbox; return its exit code."""
        assert self._sandbox is not None
        kills, started = memory_kills(), time.time()
        # cwltool's paths; those below --log-dir begin where the person is.
        streams = replace(streams, remembered_bytes=self.remembered_bytes)
        with streams.opened(Path()) as descriptors:
            try:
                result = self._steps.run(
                    self.name, self._sandbox, descriptors, time_limit=self.timelimit or None
                )
            except UdssError as error:
                raise WorkflowException(str(error)) from error
        self.ran = ran_here(result, started, self.outdir)
        conclude(self, self.builder.outdir, self._view(), self._sandbox, result)
        if result.ending in (Ending.EXITED, Ending.NOT_STARTED):
            reason = why_not_executed(self._sandbox, result)
            self.report_failure(result.exit_code, reason, memory_kills() - kills)
        return result.exit_code

    def report_failure(self, exit_code: int, reason: str, kills: int = 0) -> None:
        """Tell the person of a step that has ended by itself what more than its exit code there is
        to know (see reporting.py); `reason` is why its program could not be executed."""
        assert self._sandbox is not None
        if means_success(self, exit_code):
            return
        if reason:
            image = self.get_from_requirements()
            report_not_executed(self.name, self._sandbox.command, image, reason)
        report_failure(self.name, exit_code, kills, (Path(self.outdir), Path(self.tmpdir)))

    def show_again(self) -> int | None:
        """Have outputs collected that such a step has made before; return its exit code, or None.

        Before any file is open in the output directory: NFS and FUSE keep one that is removed
        there, under another name, until it is closed.
        """
        if self._cache is None:
            return None
        self._reuse = StepReuse(self._cache, self.name, self._step())
        kept = self._reuse.find()
        if kept is None:
            return None
        self._collect_from(self._reuse.show(kept, Path(self.outdir), Path(self.base_path_logs)))
        self._open_literals()
        self.ran = ran_from_cache(kept.exit_code)
        return kept.exit_code

    def _open_literals(self) -> None:
        if self.generatemapper is not None:
            open_literals(self.generatemapper, self.builder.outdir, self.outdir)

    def _step(self) -> Step:
        """All that decides what the job leaves."""
        assert self._image is not None
        assert self._sandbox is not None
        return Step(
            sandbox=self._sandbox,
            image=self._image.identity,
            stdin=self.stdin,
            stdout=self.stdout,
            stderr=self.stderr,
        )

    def _view(self) -> View:
        assert self._sandbox is not None
        return View(tuple(b for b in self._sandbox.binds if b.destination != TEMPORARY_DIRECTORY))

    def _collect_from(self, view: View) -> None:
        # cwltool only calls this, as with the job's class above.
        self.builder.make_fs_access = cast(
            type[StdFsAccess], functools.partial(CollectingAccess, view, self.outdir)
        )

    def _collect_and_keep(
        self, contents: Contents | None, collect: Callable[..., Any], outdir: str, exit_code: int
    ) -> Any:
        with traced("collect", self.name), self.noting_problem():
            name = os.path.basename(self.builder.outdir)
            outputs = collected(collect, outdir, exit_code, name)
        if self._reuse is not None and means_success(self, exit_code):
            self._reuse.keep(Path(outdir), exit_code)
            self._open_literals()
        self._note_made(outdir)
        if contents is not None:
            record_checksums(outputs, contents, outdir)
        return outputs

    def _note_made(self, outdir: str) -> None:
        """Have other steps see in directories of this one's what it saw there itself."""
        assert self._sandbox is not None
        self._steps.made.add(outdir)
        if self._reuse is not None and self._reuse.outputs is not None:
            self._steps.made.add(str(self._reuse.outputs))
        for bind in self._updated(self._sandbox.binds):
            report_removed(self.name, self._steps.made.check(bind.source, bind.destination))
