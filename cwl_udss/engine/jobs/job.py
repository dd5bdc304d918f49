# SPDX-License-Identifier: Apache-2.0
"""A job of cwltool that runs in a sandbox: staged and collected by cwltool as for Docker.

Knows cwltool's internals, as tool.py does.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Collection, Iterator, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from cwltool.context import RuntimeContext
from cwltool.docker import DockerCommandLineJob
from cwltool.errors import WorkflowException
from cwltool.pathmapper import MapperEnt
from cwltool.stdfsaccess import StdFsAccess
from cwltool.utils import adjustFileObjs, create_tmp_dir, ensure_writable, visit_class
from schema_salad.ref_resolver import uri_file_path

from cwl_udss.commands.run import image_command, image_environment
from cwl_udss.engine.inputs.overlays import collect_opened, open_overlaid
from cwl_udss.engine.inputs.path_mapper import empty_directories, open_literals
from cwl_udss.engine.jobs.file_access import CollectingAccess, name_by_uri, name_whole
from cwl_udss.errors import SandboxError, UdssError
from cwl_udss.filesystems.system_words import NO_ROOM, full_places, system_words
from cwl_udss.images.request import ImageRequest, parse_request
from cwl_udss.images.store.store import StoredImage
from cwl_udss.machine.resources import memory_kills
from cwl_udss.report.trace import traced
from cwl_udss.sandbox import TEMPORARY_DIRECTORY, Bind, Ending, RootFilesystem, Sandbox, Streams
from cwl_udss.steps.cache import StepCache
from cwl_udss.steps.key import Contents, Step
from cwl_udss.steps.reuse import StepReuse
from cwl_udss.steps.shared import Steps
from cwl_udss.surroundings.identity import identity_files
from cwl_udss.surroundings.outputs import View, confine, restore_access
from cwl_udss.surroundings.programs import why_not_executed
from cwl_udss.surroundings.signals import signal_words

_logger = logging.getLogger(__name__)

_CUDA = "http://commonwl.org/cwltool#CUDARequirement"
_SHARED_MEMORY_SIZE = "http://commonwl.org/cwltool#ShmSize"
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}  # as docker run --shm-size


@dataclass(frozen=True, kw_only=True)
class StreamPaths:
    """Where a tool's standard streams come from and go to, and where they go without a path."""

    stdin: str | None
    stdout: str | None
    stderr: str | None
    default_stdout: Any
    default_stderr: Any

    @contextlib.contextmanager
    def opened(self) -> Iterator[Streams]:
        """Open them. A tool's output that CWL does not capture goes to the log, as with cwltool."""
        with contextlib.ExitStack() as stack:
            stdin = None if self.stdin is None else stack.enter_context(open(self.stdin, "rb"))
            stdout = _opened(self.stdout, self.default_stdout, stack)
            # Of one file for both a second descriptor would begin at its beginning again.
            is_same = self.stdout is not None and self.stdout == self.stderr
            stderr = stdout if is_same else _opened(self.stderr, self.default_stderr, stack)
            yield Streams(
                stdin=None if stdin is None else stdin.fileno(), stdout=stdout, stderr=stderr
            )


class SandboxedJob(DockerCommandLineJob):
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
            self._check_wishes()
            with traced("image", self.name):
                self._image = self._steps.image(self._request())
                self._get_ready(self._image)
        except UdssError as error:
            self._fail(error, runtimeContext)
            return
        if not self._may_be_cached(runtimeContext):
            self._cache = None
        # What would load the host's packages (SoftwareRequirement): a sandbox does not show them.
        self.builder.job_script_provider = None
        super().run(runtimeContext, tmpdir_lock)

    def _check_wishes(self) -> None:
        """Refuse what sandboxes do not have yet, before anything is done for the job."""
        if self.get_requirement(_CUDA)[0] is not None:
            raise SandboxError(
                "GPUs are not shown to steps yet, and the tool asks for one (CUDARequirement)",
                "run it without --udss",
            )
        if self.mpi_procs:
            raise SandboxError(
                "MPI programs cannot run in sandboxes yet, and the tool is one (MPIRequirement)",
                "run it without --udss; it never runs on the host instead of in its image",
            )

    def _setup(self, runtimeContext: RuntimeContext) -> None:
        with traced("stage", self.name), self._staging():
            super()._setup(runtimeContext)
            if self.generatemapper is not None:
                for opened in open_overlaid(self.generatemapper, self._steps.made.is_followed):
                    collect_opened(self.pathmapper, opened)

    @contextlib.contextmanager
    def _staging(self) -> Iterator[None]:
        """Say of what has failed that it is the job's staging."""
        try:
            yield
        except OSError as error:
            advice = ": --udss-scratch names another place" if error.errno in NO_ROOM else ""
            raise WorkflowException(
                f"[job {self.name}] its inputs cannot be staged: {system_words(error)}{advice}"
            ) from error

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
        if not self._image.digest:
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
        with traced("stage", self.name), self._staging():
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
            shared_memory_bytes=self._shared_memory_bytes(),
        )

    def _root(self, image: StoredImage) -> tuple[RootFilesystem, dict[str, bytes]]:
        """Return the root filesystem, and the files that are to hide some of its own."""
        root = self._steps.root(image)
        home = self.builder.outdir
        return root, identity_files(root.here, home=home, network=self.networkaccess)

    def _binds(self, context: RuntimeContext) -> tuple[Bind, ...]:
        binds: list[Bind] = []
        # cwltool's own methods fill a list of arguments through append_volume(), which is ours.
        volumes = cast(list[str], binds)
        outdir, tmpdir = os.path.realpath(self.outdir), os.path.realpath(self.tmpdir)
        self.append_volume(volumes, outdir, self.builder.outdir, writable=True)
        self.append_volume(volumes, tmpdir, TEMPORARY_DIRECTORY, writable=True)
        any_path_okay = self.builder.get_requirement("DockerRequirement")[1] or False
        for mapper, anywhere in ((self.pathmapper, True), (self.generatemapper, any_path_okay)):
            if mapper is not None:
                self.add_volumes(
                    mapper,
                    volumes,
                    tmpdir_prefix=context.tmpdir_prefix,
                    secret_store=context.secret_store,
                    any_path_okay=anywhere,
                )
        for bind in self._updated(binds):
            self._steps.made.remember(bind.source)
        return tuple(binds)

    def _literal_directories(self) -> Iterator[str]:
        for mapper in filter(None, (self.pathmapper, self.generatemapper)):
            yield from empty_directories(mapper, self.builder.outdir)

    def add_file_or_directory_volume(
        self, runtime: list[str], volume: MapperEnt, host_outdir_tgt: str | None
    ) -> None:
        """Add what shows an input (cwltool's hook)."""
        if not volume.resolved.startswith("_:"):
            super().add_file_or_directory_volume(runtime, volume, host_outdir_tgt)
            if volume.type == "Directory":
                binds = self._steps.made.binds(volume.resolved, volume.target)
                cast(list[Bind], runtime).extend(binds)
        elif host_outdir_tgt:
            os.makedirs(host_outdir_tgt, exist_ok=True)

    def add_writable_directory_volume(
        self,
        runtime: list[str],
        volume: MapperEnt,
        host_outdir_tgt: str | None,
        tmpdir_prefix: str,
    ) -> None:
        """Add what shows a directory that is to be written to (cwltool's hook)."""
        if volume.resolved.startswith("_:") or self.inplace_update:
            super().add_writable_directory_volume(runtime, volume, host_outdir_tgt, tmpdir_prefix)
            return
        place = host_outdir_tgt or os.path.join(create_tmp_dir(tmpdir_prefix), "copy")
        self._steps.made.copy(volume.resolved, place)
        ensure_writable(place, include_root=True)
        if host_outdir_tgt is None:
            self.append_volume(runtime, place, volume.target, writable=True)

    @staticmethod
    def append_volume(
        runtime: list[str],
        source: str,
        target: str,
        writable: bool = False,
        skip_mkdirs: bool = False,
    ) -> None:
        """Add a bind mount (cwltool's hook)."""
        if not skip_mkdirs and not os.path.exists(source):
            os.makedirs(source)
        cast(list[Bind], runtime).append(Bind(source=source, destination=target, writable=writable))

    def _shared_memory_bytes(self) -> int | None:
        requirement, _ = self.builder.get_requirement(_SHARED_MEMORY_SIZE)
        if requirement is None:
            return None
        text = str(requirement["shmSize"]).lower()
        number = text.rstrip("bkmg")
        try:
            return int(number) * _UNITS[text[len(number) :]]
        except (ValueError, KeyError):
            raise WorkflowException(f"shmSize {text!r} is not a size such as 512m") from None

    def _execute(self, *arguments: Any, **keywords: Any) -> None:
        _this_thread.job = self
        self.collect_outputs = functools.partial(
            self._collect_and_keep, self._contents, self.collect_outputs
        )
        try:
            super()._execute(*arguments, **keywords)
        finally:
            _this_thread.job = None

    def complete(self, command: list[str], environment: MutableMapping[str, str]) -> None:
        """Add what cwltool decides last: the tool's command line and its environment."""
        assert self._image is not None
        assert self._sandbox is not None
        self._sandbox = replace(
            self._sandbox,
            command=image_command(self._image.config, tuple(command)),
            environment=environment,
        )
        self._collect_from(self._view())

    def execute(self, streams: StreamPaths) -> int:
        """Run the tool's command line in the sandbox; return its exit code."""
        assert self._sandbox is not None
        kills = memory_kills()
        with streams.opened() as descriptors:
            try:
                result = self._steps.run(
                    self.name, self._sandbox, descriptors, time_limit=self.timelimit or None
                )
            except UdssError as error:
                raise WorkflowException(str(error)) from error
        removed = confine(self.outdir, self.builder.outdir, self._view())
        restore_access(self.tmpdir)
        self.report_removed(removed)
        self.report_end(
            result.usage.memory_bytes if result.usage else None,
            timed_out=result.ending is Ending.TIME_LIMIT,
        )
        if result.ending in (Ending.EXITED, Ending.NOT_STARTED):
            reason = why_not_executed(self._sandbox, result)
            self.report_failure(result.exit_code, reason, memory_kills() - kills)
        return result.exit_code

    def report_removed(self, removed: Collection[str]) -> None:
        """Tell the person what was taken out of a directory that the step has written to."""
        for line in removed:
            _logger.warning("[job %s] removed %s", self.name, line)

    def report_end(self, memory_bytes: int | None, *, timed_out: bool) -> None:
        """Tell the person of the memory, in cwltool's words for a Docker container, and of the time
        limit."""
        if memory_bytes is not None:
            mebibytes = round(memory_bytes / (1 << 20))
            _logger.info("[job %s] Max memory used: %iMiB", self.name, mebibytes)
        if timed_out:
            _logger.warning("[job %s] killed: time limit of %d s", self.name, self.timelimit)

    def report_failure(self, exit_code: int, reason: str, kills: int = 0) -> None:
        """Tell the person of a step that has ended by itself what more than its exit code there is
        to know: why its program could not be executed, which signal may have ended it, and which of
        its directories is full. `kills` is how many processes the kernel has killed for memory
        meanwhile."""
        assert self._sandbox is not None
        if self._is_success(exit_code):
            return
        if reason:
            name = self._sandbox.command[0] if self._sandbox.command else ""
            image = self.get_from_requirements()
            _logger.error(
                "[job %s] %r cannot be executed in %s: %s", self.name, name, image, reason
            )
        full = (
            f"{words}, and it works there: --udss-scratch names another place"
            for words in full_places((Path(self.outdir), Path(self.tmpdir)))
        )
        for words in (signal_words(exit_code, kills), *full):
            if words:
                _logger.warning("[job %s] %s", self.name, words)

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
            image=self._image.digest,
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
        with traced("collect", self.name):
            try:
                outputs = collect(outdir, exit_code)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise WorkflowException(
                    f"the tool has left a cwl.output.json that is no JSON: {error}"
                ) from error
        visit_class(outputs, ("File", "Directory"), name_by_uri)
        name = os.path.basename(self.builder.outdir)
        visit_class(outputs, ("Directory",), functools.partial(name_whole, outdir, name))
        if self._reuse is not None and self._is_success(exit_code):
            self._reuse.keep(Path(outdir), exit_code)
            self._open_literals()
        self._note_made(outdir)
        if contents is None:
            return outputs
        # A checksum in cwl.output.json is only the tool's word.
        if not os.path.exists(os.path.join(outdir, "cwl.output.json")):
            adjustFileObjs(outputs, functools.partial(_record_checksum, contents, outdir))
        return outputs

    def _note_made(self, outdir: str) -> None:
        """Have other steps see in directories of this one's what it saw there itself."""
        assert self._sandbox is not None
        self._steps.made.add(outdir)
        if self._reuse is not None and self._reuse.outputs is not None:
            self._steps.made.add(str(self._reuse.outputs))
        for bind in self._updated(self._sandbox.binds):
            self.report_removed(self._steps.made.check(bind.source, bind.destination))

    def _updated(self, binds: Collection[Bind]) -> Iterator[Bind]:
        """What the step may change in place."""
        own = (self.builder.outdir, TEMPORARY_DIRECTORY)
        yield from (bind for bind in binds if bind.writable and bind.destination not in own)

    def _is_success(self, exit_code: int) -> bool:
        """Say what exit code means, as cwltool does after collection (JobBase._execute)."""
        if exit_code in self.successCodes:
            return True
        failures = (*self.temporaryFailCodes, *self.permanentFailCodes)
        return exit_code == 0 and exit_code not in failures

    def _fail(self, error: UdssError, context: RuntimeContext) -> None:
        """End the job as failed before it has run."""
        _logger.error("[job %s] %s", self.name, error, exc_info=context.debug)
        _logger.warning("[job %s] completed permanentFail", self.name)
        if context.rm_tmpdir:
            for directory in (self.stagedir, self.tmpdir):
                if directory is not None:
                    shutil.rmtree(directory, ignore_errors=True)
        lock, callback = context.workflow_eval_lock, self.output_callback
        if lock is not None and callback is not None:
            with lock:
                callback({}, "permanentFail")


class _ThisThread(threading.local):
    job: SandboxedJob | None = None


_this_thread = _ThisThread()


def start_tool(
    original: Callable[..., int],
    commands: list[str],
    *,
    stdin_path: str | None,
    stdout_path: str | None,
    stderr_path: str | None,
    env: MutableMapping[str, str],
    default_stdout: Any = None,
    default_stderr: Any = None,
    **others: Any,
) -> int:
    """Start a process as cwltool's _job_popen does, in a sandbox if the job has one."""
    job = _this_thread.job
    if job is None:
        return original(
            commands,
            stdin_path=stdin_path,
            stdout_path=stdout_path,
            stderr_path=stderr_path,
            env=env,
            default_stdout=default_stdout,
            default_stderr=default_stderr,
            **others,
        )
    # What create_runtime() returned, and the image, come before the tool's command line.
    job.complete(commands[3:], env)
    exit_code = job.show_again()
    if exit_code is not None:
        return exit_code
    return job.execute(
        StreamPaths(
            stdin=stdin_path,
            stdout=stdout_path,
            stderr=stderr_path,
            default_stdout=default_stdout,
            default_stderr=default_stderr,
        )
    )


def _opened(path: str | None, otherwise: Any, stack: contextlib.ExitStack) -> int:
    """A descriptor of a file by path, open as long as the stack; without a path of something else,
    which stays open."""
    if path is not None:
        return stack.enter_context(open(path, "wb")).fileno()
    stream = otherwise or sys.stderr
    stream.flush()  # what was said before comes before
    return int(stream.fileno())


def _record_checksum(contents: Contents, directory: str, file: MutableMapping[str, Any]) -> None:
    """Spare the steps that are given a file the reading of it, as cwltool has just read it."""
    location = str(file.get("location", ""))
    path = uri_file_path(location) if location.startswith("file://") else location
    if "checksum" in file and path.startswith(f"{directory}/"):
        contents.record(path, str(file["checksum"]))
