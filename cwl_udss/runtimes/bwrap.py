# SPDX-License-Identifier: Apache-2.0
"""Bubblewrap as the runtime: its command line, and the process it starts.

Measured facts behind the choices here are in docs/sandbox.md.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.mounts import (
    MakeSymlink,
    MountBind,
    MountFile,
    MountSpecial,
    MountTmpfs,
    Operation,
    RemountReadOnly,
    plan_mounts,
)
from cwl_udss.runtimes.seccomp import seccomp_program
from cwl_udss.runtimes.trees import Instruction, MountTree, plan_trees, tree_command
from cwl_udss.runtimes.words import encode_words, memory_file
from cwl_udss.sandbox import HOST_NAME, Ending, Result, Sandbox

# What the kernel needs to end a killed sandbox's processes; far more than it ever took.
END_OF_PROCESSES_SECONDS = 30.0
# Which of /proc are read-only in Docker's containers.
_KERNEL_SETTINGS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# MAX_ARGS in bubblewrap.c is 9000, for its options and the command together.
_MOST_ARGUMENTS = 8990
_LAST_WORDS_SECONDS = 2.0
_SIGNAL_OFFSET = 128  # of exit codes of killed processes, as in sh(1)

Argument = str | bytes
"""An argument of bwrap; bytes stand for the number of a descriptor from which to read them."""


@dataclass(frozen=True, kw_only=True)
class Bubblewrap:
    """A `bwrap` that can be used: what it is called and what it can do."""

    path: str
    version: str
    options: frozenset[str]

    @property
    def description(self) -> str:
        """For the log and `cwl-udss doctor`."""
        return f"{self.version} ({self.path})"

    def start(
        self,
        sandbox: Sandbox,
        *,
        stdin: IO[bytes] | int,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
    ) -> BubblewrapProcess:
        """Start the sandbox's command (see sandbox.Runtime)."""
        try:
            operations = plan_mounts(sandbox)
        except OSError as error:
            raise SandboxError("the sandbox cannot be prepared", str(error)) from error
        plan = plan_trees(operations, self.path)
        arguments = bubblewrap_arguments(sandbox, plan.operations, self.options)
        return self.launch(
            arguments,
            sandbox.command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            inside=sandbox.root.mounted_by,
            instructions=plan.instructions,
        )

    def launch(
        self,
        arguments: list[Argument],
        command: tuple[str, ...],
        *,
        stdin: IO[bytes] | int,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
        inside: int | None = None,
        instructions: tuple[Instruction, ...] = (),
    ) -> BubblewrapProcess:
        """Start a command with bwrap's arguments, in the namespaces of the process `inside`, after
        following the instructions for trees. Raises SandboxError if that cannot be done."""
        read_status, write_status = os.pipe()
        descriptors = [write_status]
        try:
            numbered = list(_with_descriptors(arguments, descriptors))
            _check_number(len(numbered) + len(command))
            # By descriptor: the environment may hold secrets, and ps(1) shows command lines.
            descriptors.append(memory_file(encode_words(numbered)))
            options = ("--json-status-fd", str(write_status), "--args", str(descriptors[-1]))
            beginning = _enter(inside)
            if instructions:
                descriptors.append(memory_file(encode_words(itertools.chain(*instructions))))
                beginning += tree_command(self.path, descriptors[-1])
            process = subprocess.Popen(
                [*beginning, self.path, *options, "--", *command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                # Nothing of the caller's, and nothing of the step's either: LD_PRELOAD in a
                # step's environment would load a library into bwrap itself. The program that
                # makes trees may need the caller's, and hands nothing on.
                env=None if instructions else {},
                pass_fds=descriptors,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL character in the command
            os.close(read_status)
            raise SandboxError(f"{self.path} cannot be started", str(error)) from error
        except BaseException:
            os.close(read_status)
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return BubblewrapProcess(process, read_status)


class BubblewrapProcess:
    """A command running in its sandbox (see sandbox.SandboxProcess)."""

    def __init__(self, process: subprocess.Popen[bytes], status_descriptor: int) -> None:
        self.process = process
        self._status_descriptor = status_descriptor
        self._killed: Ending | None = None

    def wait(self, time_limit: float | None = None) -> Result:
        """Wait for the end of the command and of all it started (see sandbox.SandboxProcess)."""
        timer = None
        if time_limit is not None:
            timer = threading.Timer(time_limit, self._kill, (Ending.TIME_LIMIT,))
            timer.daemon = True
            timer.start()
        try:
            return_code = self.process.wait()
        except BaseException:  # a signal's handler raised: the step must not outlive us
            self.kill()
            self.process.wait()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            status = self._read_status()
            # bwrap ends with its command; processes that the command left behind are being
            # killed at that moment, and could still write to the output directory.
            _wait_for_end(status.get("child-pid"))
        return self._result(return_code, status)

    def kill(self) -> None:
        """Kill all processes of the sandbox."""
        self._kill(Ending.KILLED)

    def _kill(self, ending: Ending) -> None:
        if self.process.poll() is None:
            self._killed = self._killed or ending
            self.process.kill()  # --die-with-parent takes the rest

    def _read_status(self) -> dict[str, int]:
        """What bwrap said of itself: JSON objects, one a line (bwrap(1), --json-status-fd)."""
        said = b""
        with open(self._status_descriptor, "rb", buffering=0) as stream:
            # Not for ever: the child of a bwrap that was killed before it had done its part waits
            # for that, and has the other end as well if trees were to be made.
            while select.select([stream], [], [], _LAST_WORDS_SECONDS)[0]:
                part = stream.read(io.DEFAULT_BUFFER_SIZE)
                if not part:
                    break
                said += part
        status: dict[str, int] = {}
        for line in said.splitlines():
            status.update(json.loads(line))
        return status

    def _result(self, return_code: int, status: dict[str, int]) -> Result:
        if self._killed:
            return Result(exit_code=_SIGNAL_OFFSET + signal.SIGKILL, ending=self._killed)
        if return_code < 0:  # bwrap itself was killed, and the sandbox with it
            return Result(exit_code=_SIGNAL_OFFSET - return_code, ending=Ending.KILLED)
        if "exit-code" in status:
            return Result(exit_code=status["exit-code"], ending=Ending.EXITED)
        if return_code > _SIGNAL_OFFSET:  # the same, told by the bwrap around it
            return Result(exit_code=return_code, ending=Ending.KILLED)
        if "child-pid" not in status:
            raise SandboxError(
                "bubblewrap could not make the sandbox",
                "its message is above, or in the step's standard error; try `cwl-udss doctor`",
            )
        return Result(exit_code=127, ending=Ending.NOT_STARTED)


def _check_number(arguments: int) -> None:
    if arguments > _MOST_ARGUMENTS:
        raise SandboxError(
            f"bubblewrap takes {_MOST_ARGUMENTS} arguments, and the step is {arguments}",
            "give it directories instead of single files, or its command line in a file",
        )


def _enter(process: int | None) -> tuple[str, ...]:
    """The beginning of a command line that enters the user and mount namespaces of a process."""
    if process is None:
        return ()
    program = shutil.which("nsenter", path=os.defpath) or "nsenter"
    return (program, "--user", "--mount", "--preserve-credentials", f"--target={process}", "--")


def bubblewrap_arguments(
    sandbox: Sandbox, operations: tuple[Operation | MountTree, ...], options: frozenset[str]
) -> list[Argument]:
    """Return the arguments (without `--json-status-fd`, `--args` and the command) for a sandbox."""
    arguments: list[Argument] = [
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        # No cgroup namespace: programs (the JVM) find their limits by /proc/self/cgroup in /sys.
        *("--hostname", HOST_NAME),
        # Both this and --unshare-pid: either alone leaves background processes behind.
        # Not --new-session: PBS accounts for and kills processes by session.
        "--die-with-parent",
        *("--cap-drop", "ALL"),  # bwrap keeps all capabilities when started as uid 0
        *("--seccomp", seccomp_program()),
    ]
    if not sandbox.network:
        arguments.append("--unshare-net")
    for operation in operations:
        arguments += _operation_arguments(operation, sandbox, options)
    arguments += ["--chdir", sandbox.working_directory]
    for name, value in sandbox.environment.items():
        arguments += ["--setenv", name, value]
    return arguments


def _operation_arguments(
    operation: Operation | MountTree, sandbox: Sandbox, options: frozenset[str]
) -> list[Argument]:
    match operation:
        case MountTmpfs(path):
            return ["--tmpfs", path]
        case MountBind(path, source, writable):
            return ["--bind" if writable else "--ro-bind", source, path]
        case MountTree(path, source):  # with what is read-only in it made so
            return ["--bind", source, path]
        case MountFile(path, content):
            return [*_permissions("0644", options), "--ro-bind-data", content, path]
        case MakeSymlink(path, target):
            return ["--symlink", target, path]
        case RemountReadOnly(path):
            return ["--remount-ro", path]
        case MountSpecial("/proc"):
            return proc_arguments()
        case MountSpecial("/sys"):
            return ["--ro-bind", "/sys", "/sys"]
        case MountSpecial(_):
            return ["--dev", "/dev", *_shared_memory(sandbox, options), "--remount-ro", "/dev"]


def proc_arguments() -> list[Argument]:
    """Return the arguments for a `/proc`, in which nobody can change the kernel's settings.

    The kernel lets the machine's root write those without any capability (test_perm() in its
    fs/proc/proc_sysctl.c); bwrap covers them only where their directory is writable.
    """
    covered = _KERNEL_SETTINGS if os.geteuid() == 0 else ()
    binds = [("--ro-bind", path, path) for path in covered if os.path.exists(path)]
    return ["--proc", "/proc", *(word for bind in binds for word in bind)]


def _shared_memory(sandbox: Sandbox, options: frozenset[str]) -> list[Argument]:
    arguments: list[Argument] = [*_permissions("1777", options)]
    if sandbox.shared_memory_bytes is not None:
        if "--size" not in options:
            raise SandboxError(
                "this bubblewrap cannot limit /dev/shm", "ShmSize needs bubblewrap 0.7 or newer"
            )
        arguments += ["--size", str(sandbox.shared_memory_bytes)]
    return [*arguments, "--tmpfs", "/dev/shm"]  # noqa: S108 - a path in the sandbox


def _permissions(mode: str, options: frozenset[str]) -> list[Argument]:
    return ["--perms", mode] if "--perms" in options else []


def _with_descriptors(arguments: list[Argument], descriptors: list[int]) -> Iterator[str]:
    """Put contents into descriptors of their own, noted in `descriptors`, and their numbers in
    their place. bwrap reads to the end of each, so none can be shared between sandboxes."""
    for argument in arguments:
        if isinstance(argument, bytes):
            descriptors.append(memory_file(argument))
            yield str(descriptors[-1])
        else:
            yield argument


def _wait_for_end(process_id: int | None) -> None:
    """Wait until the first process of a PID namespace has ended, and with it all the others: the
    kernel ends the others first (zap_pid_ns_processes)."""
    if process_id is None:
        return
    try:
        ended = _wait_by_descriptor(process_id)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # Linux before 5.3, or a Python built for one
        ended = _wait_by_looking(process_id)
    if not ended:
        raise SandboxError(
            f"processes of the step still run, {END_OF_PROCESSES_SECONDS:.0f} s after it ended",
            f"look at process {process_id} and its children: a file system may hang",
        )


def _wait_by_descriptor(process_id: int) -> bool:
    descriptor = os.pidfd_open(process_id)
    try:
        ended, _, _ = select.select([descriptor], [], [], END_OF_PROCESSES_SECONDS)
    finally:
        os.close(descriptor)
    return bool(ended)


def _wait_by_looking(process_id: int) -> bool:
    give_up = time.monotonic() + END_OF_PROCESSES_SECONDS
    while time.monotonic() < give_up:
        try:
            with open(f"/proc/{process_id}/stat", encoding="ascii", errors="replace") as stream:
                state = stream.read().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":  # dead; whose child it now is has not asked yet
            return True
        time.sleep(0.001)
    return False
