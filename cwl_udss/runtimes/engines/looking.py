# SPDX-License-Identifier: Apache-2.0
"""What is in the sandboxes that an engine makes: seen by a program in one.

An engine's configuration has the last word, and mostly says nothing of what it leaves out.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.machine_code.program import Call, Program, Variable
from cwl_udss.runtimes.probing.trial import first_line, not_made, run_trial
from cwl_udss.runtimes.unshare.file_calls import AT_CWD
from cwl_udss.sandbox import Bind, RootFilesystem, Runtime, Sandbox

_PROGRAM, _BOUND = "look", "/bound"
_NAMESPACES = ("pid", "net", "ipc", "mnt")
_PIECE, _PIECES = 4096, 32  # what one read(2) of /proc gives at most, and how many are enough
_OWN_MOUNTS = re.compile(rf"/|{_BOUND}|/etc/(?:passwd|group|hosts|hostname|resolv\.conf)")
# What an engine may have in a container that is of no host's directory.
_KERNEL_MOUNTS = re.compile(r"/(?:dev|proc|sys)(?:/|$)|/run/\.containerenv$|/run/secrets$")


@dataclass(frozen=True)
class Inside:
    """What is in a sandbox."""

    mounts: tuple[str, ...]
    """Where something is mounted that nobody has asked for."""
    shared: tuple[str, ...]
    """The names of namespaces that are the caller's."""


def look_inside(runtime: Runtime, path: str, advice: Callable[[str], str], scratch: Path) -> Inside:
    """Make a sandbox, and see what is in it. Raises SandboxError with what the program at `path`
    says if that fails, and `advice` on that.

    For root it makes none: there an engine takes no user namespace, so that a step could change
    the kernel's settings, and devices.
    """
    if os.geteuid() == 0:
        raise SandboxError(
            f"{path} contains no step of root's", "use bwrap, or run it as an ordinary user"
        )
    with (
        tempfile.TemporaryDirectory(dir=scratch) as root,
        tempfile.TemporaryDirectory(dir=scratch) as bound,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as messages,
    ):
        _make_root(Path(root))
        sandbox = Sandbox(
            root=RootFilesystem(path=Path(root)),
            command=(f"/{_PROGRAM}",),
            environment={},
            working_directory="/",
            binds=(Bind(source=bound, destination=_BOUND, writable=True),),
            files={"/etc/passwd": b"", "/etc/group": b"", "/etc/resolv.conf": b""},
        )
        result = run_trial(runtime, sandbox, path, advice, output=output, messages=messages)
        if result.exit_code != 0:
            said = first_line(messages) or f"it ends with exit code {result.exit_code}"
            raise not_made(path, said, advice(said))
        output.seek(0)
        inside, is_bound = _read(output.read())
    if not is_bound:
        raise SandboxError(
            f"{path} shows nothing that it is told to", "ask for `user bind control = yes`"
        )
    return inside


def _make_root(root: Path) -> None:
    root.chmod(0o755)
    for name in ("dev", "etc", "proc", "sys", "tmp", _BOUND[1:]):
        (root / name).mkdir()
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (root / "etc" / name).touch()
    (root / _PROGRAM).write_bytes(_looking_program())
    (root / _PROGRAM).chmod(0o500)


def _looking_program() -> bytes:
    """Return a program that writes of which namespaces it is, and what is mounted."""
    program = Program()
    calls = [*_names(program), *_mounts(program)]
    failed = program.memory.add(bytes(16))
    code = program.make_calls(calls, failed)
    ended = program.processor.unless_result(0, program.call("exit_group", 1))
    return program.elf(code + ended + program.call("exit_group", 0))


def _names(program: Program) -> Iterator[Call]:
    size = 64
    for name in _NAMESPACES:
        place = program.memory.add(bytes(size - 1) + b"\n")
        path = f"/proc/self/ns/{name}\0".encode()
        yield Call(name="readlinkat", arguments=(AT_CWD, path, place, size - 1), purpose=name)
        yield Call(name="write", arguments=(1, place, size), purpose=name)


def _mounts(program: Program) -> Iterator[Call]:
    place = program.memory.add(bytes(_PIECE * _PIECES))
    path, file, purpose = b"/proc/self/mountinfo\0", Variable("file"), "mounts"
    yield Call(name="openat", arguments=(AT_CWD, path, 0), purpose=purpose, result=file.name)
    for number in range(_PIECES):
        piece = place + number * _PIECE
        yield Call(name="read", arguments=(file, piece, _PIECE), purpose=purpose)
    yield Call(name="write", arguments=(1, place, _PIECE * _PIECES), purpose=purpose)


def _read(said: bytes) -> tuple[Inside, bool]:
    *lines, _ = said.replace(b"\0", b"").decode(errors="replace").split("\n")
    names, mounts = lines[: len(_NAMESPACES)], lines[len(_NAMESPACES) :]
    own = [os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES]
    shared = [name for name, its, ours in zip(_NAMESPACES, names, own, strict=True) if its == ours]
    points = [line.split(" ")[4] for line in mounts]
    others = [
        point
        for point in points
        if not _OWN_MOUNTS.fullmatch(point) and not _KERNEL_MOUNTS.match(point)
    ]
    return Inside(tuple(others), tuple(shared)), _BOUND in points
