# SPDX-License-Identifier: Apache-2.0
"""A job of cwltool without an image: its tool is one of this machine, and kept from the rest of it.

cwltool stages for it by links and copies, as ever; what these lead to it is given to read. Knows
cwltool's internals, as tool.py does.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cwltool.env_to_stdout
import cwltool.run_job
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.job import CommandLineJob
from cwltool.stdfsaccess import StdFsAccess

from cwl_udss.engine.jobs.collecting import collected
from cwl_udss.engine.jobs.file_access import CollectingAccess
from cwl_udss.engine.jobs.process import Environment, this_thread
from cwl_udss.engine.jobs.recording import RecordedJob, ran_here
from cwl_udss.engine.jobs.reporting import (
    conclude,
    fail,
    report_failure,
    report_not_executed,
)
from cwl_udss.engine.jobs.wishes import check_wishes, cpu_limit, memory_limit, whole_cores
from cwl_udss.errors import UdssError
from cwl_udss.machine.resources import memory_kills
from cwl_udss.sandbox import Bind, Ending, RootFilesystem, Sandbox
from cwl_udss.steps.shared import Steps
from cwl_udss.steps.streams import StreamPaths
from cwl_udss.surroundings.outputs import View
from cwl_udss.surroundings.programs import why_not_executed

_OF_FILES = ("File", "Directory", "WritableFile", "WritableDirectory")
_THIS_MACHINE = "this machine"


class HostJob(RecordedJob, CommandLineJob):
    """A job of a tool without an image, in a sandbox that shows this machine."""

    def __init__(self, steps: Steps, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._steps = steps
        self._sandbox: Sandbox | None = None
        self._script: str | None = None

    def run(
        self, runtimeContext: RuntimeContext, tmpdir_lock: threading.Lock | None = None
    ) -> None:
        """Run the job; what cannot be contained fails it like a tool that fails."""
        try:
            with self.noting_problem():
                check_wishes(self)
                self._steps.runtime()
        except UdssError as error:
            fail(self, error, runtimeContext)
            return
        super().run(runtimeContext, tmpdir_lock)

    def _execute(self, *arguments: Any, **keywords: Any) -> None:
        this_thread.job = self
        self.collect_outputs = functools.partial(self._collect, self.collect_outputs)
        try:
            super()._execute(*arguments, **keywords)
        finally:
            this_thread.job = None

    def complete(self, command: list[str], environment: Environment, script: str | None) -> None:
        """Add what cwltool decides last: the command line, its environment, and a script that loads
        the packages which the tool asks for (SoftwareRequirement)."""
        self._script = script
        self._sandbox = Sandbox(
            root=RootFilesystem(path=Path("/")),
            command=tuple(command),
            environment=environment,
            working_directory=self.outdir,
            binds=tuple(self._binds()),
            network=self.networkaccess,
            cores=whole_cores(self.builder),
            cpu_limit=cpu_limit(self, self._steps.limited),
            memory_limit=memory_limit(self, self._steps.limited),
        )
        # cwltool only calls it.
        self.builder.make_fs_access = cast(
            type[StdFsAccess], functools.partial(CollectingAccess, self._view(), self.outdir)
        )

    def show_again(self) -> int | None:
        """Nothing is kept of tools of this machine, which may change."""
        return None

    def execute(self, streams: StreamPaths) -> int:
        """Run the tool's command line in the sandbox; return its exit code."""
        assert self._sandbox is not None
        kills, started = memory_kills(), time.time()
        sandbox = self._sandbox
        streams = replace(streams, remembered_bytes=self.remembered_bytes)
        try:
            if self._script is not None:
                sandbox, streams = self._by_script(self._script, sandbox, streams)
            with streams.opened(Path()) as descriptors:
                result = self._steps.run(
                    self.name, sandbox, descriptors, time_limit=self.timelimit or None
                )
        except UdssError as error:
            raise WorkflowException(str(error)) from error
        self.ran = ran_here(result, started, self.outdir)
        conclude(self, self.outdir, self._view(), sandbox, result)
        if result.exit_code and result.ending in (Ending.EXITED, Ending.NOT_STARTED):
            reason = why_not_executed(sandbox, result)
            if reason:
                report_not_executed(self.name, sandbox.command, _THIS_MACHINE, reason)
            directories = (Path(self.outdir), Path(self.tmpdir))
            report_failure(self.name, result.exit_code, memory_kills() - kills, directories)
        return result.exit_code

    def _binds(self) -> Iterator[Bind]:
        """What the tool is given, each at its own path."""
        yield _given(self.outdir, writable=True)
        yield _given(self.tmpdir, writable=True)
        yield from map(_given, self._steps.host_directories)
        if self.stagedir is not None and os.path.exists(self.stagedir):
            yield _given(self.stagedir)
        for mapper in filter(None, (self.pathmapper, self.generatemapper)):
            for _, entry in mapper.items():
                # What is only made for the step begins with _:, or is its content.
                if entry.resolved and entry.type in _OF_FILES and os.path.exists(entry.resolved):
                    is_updated = self.inplace_update and str(entry.type).startswith("Writable")
                    yield _given(entry.resolved, writable=is_updated)
                    # A step that has made a directory has seen there what its links lead to.
                    for bind in self._steps.made.binds(entry.resolved, entry.resolved):
                        yield _given(bind.source)

    def _view(self) -> View:
        assert self._sandbox is not None
        return View(tuple(b for b in self._sandbox.binds if b.source != self.tmpdir))

    def _by_script(
        self, script: str, sandbox: Sandbox, streams: StreamPaths
    ) -> tuple[Sandbox, StreamPaths]:
        """Have the script start the command (as cwltool's _job_popen does): it opens the files of
        the streams itself."""
        directory = Path(tempfile.mkdtemp(dir=self.tmpdir))
        description = {
            "commands": sandbox.command,
            "cwd": sandbox.working_directory,
            "env": dict(sandbox.environment),
            "stdin_path": streams.stdin,
            "stdout_path": streams.stdout,
            "stderr_path": streams.stderr,
        }
        (directory / "job.json").write_text(json.dumps(description), encoding="utf-8")
        (directory / "run_job.bash").write_text(script, encoding="utf-8")
        for module in (cwltool.run_job, cwltool.env_to_stdout):
            shutil.copy(str(module.__file__), directory)
        logs = [os.path.dirname(path) for path in (streams.stdout, streams.stderr) if path]
        by_script = replace(
            sandbox,
            command=("bash", str(directory / "run_job.bash")),
            working_directory=str(directory),
            binds=(*sandbox.binds, *(_given(path, writable=True) for path in logs)),
        )
        return by_script, replace(streams, stdin=None, stdout=None, stderr=None)

    def _collect(self, collect: Callable[..., Any], outdir: str, exit_code: int) -> Any:
        with self.noting_problem():
            name = os.path.basename(self.builder.outdir)
            outputs = collected(collect, outdir, exit_code, name)
        self._steps.made.add(outdir)
        return outputs


def _given(path: str, *, writable: bool = False) -> Bind:
    return Bind(source=path, destination=path, writable=writable)
