# SPDX-License-Identifier: Apache-2.0
"""Bubblewrap as the runtime: its command line.

Measured facts behind the choices here are in docs/sandbox.md.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator

from cwl_udss.errors import SandboxError
from cwl_udss.records import record
from cwl_udss.runtimes.bubblewrap.trees import Instruction, MountTree, plan_trees, tree_command
from cwl_udss.runtimes.mounts import plan_mounts
from cwl_udss.runtimes.namespace import entering
from cwl_udss.runtimes.operations import (
    KERNEL_SETTINGS,
    MakeDirectory,
    MakeSymlink,
    MountBind,
    MountFile,
    MountOverlay,
    MountSpecial,
    MountTmpfs,
    Operation,
    RemountReadOnly,
    WriteFile,
)
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.seccomp import seccomp_program
from cwl_udss.runtimes.starting import PipedRuntime, starting
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.runtimes.words import check_words, encode_words, memory_file
from cwl_udss.sandbox import Limit, Sandbox

# MAX_ARGS in bubblewrap.c is 9000, for its options and the command together.
_MOST_ARGUMENTS = 8990

Argument = str | bytes
"""An argument of bwrap; bytes stand for the number of a descriptor from which to read them."""


@record(frozen=True, kw_only=True)
class Bubblewrap(PipedRuntime):
    """A `bwrap` that can be used: what it is called and what it can do."""

    path: str
    version: str
    options: frozenset[str]

    @property
    def description(self) -> str:
        """For the log and `cwl-udss doctor`."""
        return f"{self.version} ({self.path})"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """None: all that is promised is kept."""
        return ()

    def start_with(self, sandbox: Sandbox, pipes: Pipes) -> RuntimeProcess:
        """Start the sandbox's command (see PipedRuntime)."""
        check_words(sandbox.command, sandbox.environment)
        try:
            operations = plan_mounts(sandbox)
        except OSError as error:
            raise SandboxError("the sandbox cannot be prepared", str(error)) from error
        plan = plan_trees(operations, self.path)
        arguments = bubblewrap_arguments(sandbox, plan.operations, self.options)
        return self.launch(
            arguments,
            sandbox.command,
            pipes,
            inside=sandbox.root.mounted_by,
            instructions=plan.instructions,
        )

    def launch(
        self,
        arguments: list[Argument],
        command: tuple[str, ...],
        pipes: Pipes,
        *,
        inside: int | None = None,
        instructions: tuple[Instruction, ...] = (),
    ) -> RuntimeProcess:
        """Start a command with bwrap's arguments, in the namespaces of the process `inside`, after
        following the instructions for trees. Raises SandboxError if that cannot be done."""
        kept: list[int] = []
        passed: list[int] = []
        if pipes.is_typed_at:
            # Ctrl-C is the command's, and ends bwrap, too (see RuntimeProcess).
            arguments = [word for word in arguments if word != "--die-with-parent"]
        try:
            with starting(self.path, kept) as deferral:
                numbered = list(_with_descriptors(arguments, passed))
                _check_number(len(numbered) + len(command))
                # By descriptor: the environment may hold secrets, and ps(1) shows command lines.
                passed.append(memory_file(encode_words(numbered)))
                status = _pipe(kept, passed)
                options = ("--args", str(passed[-2]), "--json-status-fd", status)
                beginning = () if inside is None else entering(inside)
                if instructions:
                    passed.append(memory_file(encode_words(itertools.chain(*instructions))))
                    number = str(passed[-1])
                    # To be read from, too, so that there is a reader whoever dies: a bwrap that
                    # cannot write this ends, and leaves a child that waits for it for ever.
                    around = _pipe(kept, passed, os.O_RDWR)
                    beginning += tree_command(self.path, number, status, around)
                process = subprocess.Popen(
                    [*beginning, self.path, *options, "--", *command],
                    stdin=pipes.stdin,
                    stdout=pipes.stdout,
                    stderr=pipes.stderr,
                    # Nothing of the caller's, and nothing of the step's either: LD_PRELOAD in a
                    # step's environment would load a library into bwrap itself. The program that
                    # makes trees may need the caller's, and hands nothing on.
                    env=None if instructions else {},
                    pass_fds=passed,
                    start_new_session=pipes.needs_own_session(),
                )
        finally:
            for descriptor in passed:
                os.close(descriptor)
        return RuntimeProcess(process, pipes.relay, deferral, *kept)


def _pipe(kept: list[int], passed: list[int], flags: int = os.O_WRONLY) -> str:
    """Add the ends of a pipe to those that are kept and passed on; return the latter's number."""
    reading, writing = os.pipe()
    kept.append(reading)
    passed.append(os.open(f"/proc/self/fd/{writing}", flags | os.O_CLOEXEC))
    os.close(writing)
    return str(passed[-1])


def _check_number(arguments: int) -> None:
    if arguments > _MOST_ARGUMENTS:
        raise SandboxError(
            f"bubblewrap takes {_MOST_ARGUMENTS} arguments, and the step is {arguments}",
            "give it directories instead of single files, or its command line in a file",
        )


def bubblewrap_arguments(
    sandbox: Sandbox, operations: tuple[Operation | MountTree, ...], options: frozenset[str]
) -> list[Argument]:
    """Return the arguments (without `--json-status-fd`, `--args` and the command) for a sandbox."""
    arguments: list[Argument] = [
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        # No cgroup namespace: programs (the JVM) find their limits by /proc/self/cgroup in /sys.
        *("--hostname", sandbox.host_name),
        # Both this and --unshare-pid: either alone leaves background processes behind.
        # Not --new-session: PBS accounts for and kills processes by session (see launch()).
        "--die-with-parent",
        *("--cap-drop", "ALL"),  # bwrap keeps all capabilities when started as uid 0
        *("--seccomp", seccomp_program()),
    ]
    if sandbox.root.mounted_by is not None:  # where the caller may be root: see mounter.py
        arguments += ["--uid", str(os.geteuid()), "--gid", str(os.getegid())]
    if not sandbox.network:
        arguments.append("--unshare-net")
    if sandbox.user is not None:
        arguments += ["--uid", str(sandbox.user[0]), "--gid", str(sandbox.user[1])]
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
        case MountTmpfs(path, writable, size):
            return [*_tmpfs_options("1777" if writable else "", size, options), "--tmpfs", path]
        case MountOverlay(path, source):
            return ["--overlay-src", source, "--tmp-overlay", path]
        case MakeDirectory(path):
            return ["--dir", path]
        case MountBind(path, source, writable):
            return ["--bind" if writable else "--ro-bind", source, path]
        case MountTree(path, source):  # with what is read-only in it made so
            return ["--bind", source, path]
        case MountFile(path, content):
            return [*_permissions("0644", options), "--ro-bind-data", content, path]
        case WriteFile(path, content):
            return [*_permissions("0644", options), "--file", content, path]
        case MakeSymlink(path, target):
            return ["--symlink", target, path]
        case RemountReadOnly(path):
            return ["--remount-ro", path]
        case MountSpecial("/proc"):
            return proc_arguments()
        case MountSpecial("/sys"):
            return ["--ro-bind", "/sys", "/sys"]
        case MountSpecial(_):
            shared = _tmpfs_options("1777", sandbox.shared_memory_bytes, options)
            shared += ["--tmpfs", "/dev/shm"]  # noqa: S108 - a path in the sandbox
            devices = [word for path in sandbox.devices for word in ("--dev-bind", path, path)]
            return ["--dev", "/dev", *shared, *devices, "--remount-ro", "/dev"]


def proc_arguments() -> list[Argument]:
    """Return the arguments for a `/proc`, in which nobody can change the kernel's settings.

    The kernel lets the machine's root write those without any capability (test_perm() in its
    fs/proc/proc_sysctl.c); bwrap covers them only where their directory is writable.
    """
    covered = KERNEL_SETTINGS if os.geteuid() == 0 else ()
    binds = [("--ro-bind", path, path) for path in covered if os.path.exists(path)]
    return ["--proc", "/proc", *(word for bind in binds for word in bind)]


def _tmpfs_options(mode: str, size: int | None, options: frozenset[str]) -> list[Argument]:
    arguments = _permissions(mode, options) if mode else []
    if size is None:
        return arguments
    if "--size" not in options:
        raise SandboxError(
            "this bubblewrap cannot limit directories in memory (/dev/shm)",
            "ShmSize and sizes need bubblewrap 0.7 or newer",
        )
    return [*arguments, "--size", str(size)]


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
