# SPDX-License-Identifier: Apache-2.0
"""A step of cwltool as a job of the batch system: cwltool stages and collects, a node runs it."""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException

from cwl_udss.batch.jobs import BatchSteps, FinishedStep, StepLost
from cwl_udss.batch.record import asked_of, read_ran
from cwl_udss.batch.run_directory import read_end
from cwl_udss.batch.wishes import HINT, Said, make_wish
from cwl_udss.engine.jobs.job import SandboxedJob
from cwl_udss.engine.jobs.reporting import report_end, report_removed
from cwl_udss.engine.jobs.wishes import asked_by, means_success
from cwl_udss.errors import UdssError
from cwl_udss.images.store.image import StoredImage
from cwl_udss.sandbox import TEMPORARY_DIRECTORY, RootFilesystem
from cwl_udss.settings.settings import Settings
from cwl_udss.steps.cache import StepCache
from cwl_udss.steps.image import step_image
from cwl_udss.steps.key import Contents, Unidentified, step_key
from cwl_udss.steps.shared import Steps
from cwl_udss.steps.spec import STDERR, STDOUT, NodeSettings, StepEnding, StepSpec
from cwl_udss.steps.streams import StreamPaths

_logger = logging.getLogger(__name__)

_RELAYED_BYTES = 64 << 10
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the jobs of one run share."""

    steps: Callable[[], BatchSteps]
    contents: Contents
    settings: Settings
    note_outputs: Callable[[str], None]
    """To be told of directories whose files cwltool may move to their final place."""


class BatchJob(SandboxedJob):
    """A job that runs on whichever node the batch system chooses."""

    def __init__(
        self,
        steps: Steps,
        cache: StepCache | None,
        batch: Batch,
        base: Path | str,
        *arguments: Any,
    ) -> None:
        """`base` is the directory of the tool's document, or its URL."""
        super().__init__(steps, cache, base, *arguments)
        self._batch = batch
        self._contents = batch.contents
        self._is_secret = False

    def run(
        self, runtimeContext: RuntimeContext, tmpdir_lock: threading.Lock | None = None
    ) -> None:
        """Run the job (see SandboxedJob)."""
        secrets = runtimeContext.secret_store
        self._is_secret = secrets is not None and secrets.has_secret(self.joborder)
        super().run(runtimeContext, tmpdir_lock)

    def _get_ready(self, image: StoredImage) -> None:
        """Nothing is needed on this machine but the image in the store."""

    def _root(self, image: StoredImage) -> tuple[RootFilesystem, dict[str, bytes]]:
        """Return what stands for the node's own."""
        return RootFilesystem(path=image.path), {}

    def execute(self, streams: StreamPaths) -> int:
        """Have a node run the tool's command line; return its exit code."""
        spec = self._spec(streams)
        try:
            finished = self._batch.steps().run(
                spec,
                Path(self.outdir),
                self._key(),
                make_wish(self._said(), self._hint(), self._batch.settings),
                is_secret=self._is_secret,
                is_success=functools.partial(means_success, self),
                temporary_codes=self.temporaryFailCodes,
            )
        except UdssError as error:
            if isinstance(error, StepLost):
                self.ran = read_ran(
                    error.directory, asked=asked_of(error.resources), ending=error.kind.value
                )
            raise WorkflowException(str(error)) from error
        self.ran = read_ran(
            finished.directory,
            asked=asked_of(finished.resources),
            stderr=spec.stderr,
            is_cached=finished.is_earlier,
        )
        self._relay(finished)
        self._collect_where_it_is(finished.outputs)
        return finished.result.exit_code

    def _spec(self, streams: StreamPaths) -> StepSpec:
        assert self._image is not None
        assert self._sandbox is not None
        own = (self.builder.outdir, TEMPORARY_DIRECTORY)
        resources = self.builder.resources
        settings = self._batch.settings
        return StepSpec(
            name=self.name,
            image=step_image(self._image),
            command=self._sandbox.command,
            environment=self._sandbox.environment,
            output_directory=self.builder.outdir,
            binds=tuple(bind for bind in self._sandbox.binds if bind.destination not in own),
            directories=self._sandbox.directories,
            network=self.networkaccess,
            shared_memory_bytes=self._sandbox.shared_memory_bytes,
            cores=self._sandbox.cores,
            stdin=streams.stdin,
            stdout=self._relative(streams.stdout),
            stderr=self._relative(streams.stderr),
            time_limit=self.timelimit or None,
            needed_bytes=sum(int(resources[size]) for size in ("tmpdirSize", "outdirSize")) << 20,
            settings=NodeSettings(
                store=str(settings.store),
                library=tuple(map(str, settings.other_stores)),
                scratch=None if settings.scratch is None else str(settings.scratch),
                scratch_images=settings.scratch_images,
                runtime=settings.runtime,
                accept=settings.accept,
                required=settings.required,
                bwrap=settings.bwrap,
            ),
        )

    def _relative(self, path: str | None) -> str | None:
        """A path in the output directory by what it is called there; others (--log-dir) stay."""
        if path is None or not path.startswith(f"{self.outdir}/"):
            return path
        return os.path.relpath(path, self.outdir)

    def _key(self) -> str | None:
        """What finds the step again in a later run."""
        assert self._image is not None
        if self.inplace_update or not self._image.identity:
            return None
        try:
            return step_key(self._step(), self._batch.contents).value
        except Unidentified as error:
            _logger.debug("[job %s] will not be found again: %s", self.name, error)
            return None

    def _said(self) -> Said:
        asked = asked_by(self)
        memory = asked.memory_bytes
        return Said(
            cores=asked.cores,
            memory=None if memory is None else memory / _MEBIBYTE,
            time_limit=asked.seconds,
        )

    def _hint(self) -> dict[str, Any]:
        hint = self.get_requirement(HINT)[0] or {}
        return {name: self.builder.do_eval(value) for name, value in hint.items()}

    def _relay(self, finished: FinishedStep) -> None:
        """Say what there is to say of a step that has ended elsewhere."""
        result, outputs = finished.result, finished.outputs
        for name in (STDOUT, STDERR):
            sys.stderr.write(read_end(finished.directory / name, _RELAYED_BYTES))
        report_removed(self.name, result.removed)
        timed_out = result.ending is StepEnding.TIME_LIMIT
        report_end(self.name, result.usage, exceeded=self.timelimit if timed_out else None)
        if result.ending in (StepEnding.EXITED, StepEnding.NOT_STARTED):
            self.report_failure(result.exit_code, result.problem)
        if not means_success(self, result.exit_code):
            _logger.error(
                "[job %s] has failed on %s with exit code %d; to run it again by hand: "
                "cwl-udss step %s",
                self.name,
                result.node,
                result.exit_code,
                finished.directory,
            )
        _logger.info(
            "[job %s] ran on %s for %.0f s%s",
            self.name,
            result.node,
            result.ended - result.started,
            f", {result.usage.processor_seconds:.0f} s of processors" if result.usage else "",
        )
        self._batch.note_outputs(str(outputs))

    def _collect_where_it_is(self, outputs: Path) -> None:
        """Have cwltool collect from where the node has put it: a later driver finds it there."""
        assert self._sandbox is not None
        staged, self.outdir = self.outdir, str(outputs)
        if self.base_path_logs == staged:
            self.base_path_logs = self.outdir
        binds = tuple(
            replace(bind, source=self.outdir) if bind.destination == self.builder.outdir else bind
            for bind in self._sandbox.binds
        )
        self._sandbox = replace(self._sandbox, binds=binds)
        self._collect_from(self._view())
