# SPDX-License-Identifier: Apache-2.0
"""Whether PRoot can make sandboxes on this machine: found by making one, and if not, why not."""

from __future__ import annotations

import atexit
import contextlib
import functools
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.probing.attempts import Facts, Remember, try_always
from cwl_udss.runtimes.probing.trial import ask, program_on_path, try_runtime
from cwl_udss.runtimes.proot.landlock import required_landlock
from cwl_udss.runtimes.proot.proot import Proot

_VERSION = re.compile(r"\bv?(\d+\.\d+[\w.-]*)")
_ACCELERATED = "seccomp_filter = yes"
_ELF = b"\x7fELF"
# Of an ELF header, by class: how and where it has where the section headers are, and of what size.
_SECTIONS = {1: ("<I", 32, 46), 2: ("<Q", 40, 58)}
_LOADERS = {2: "PROOT_LOADER", 1: "PROOT_LOADER_32"}


def find_proot(
    temporary: Callable[[], AbstractContextManager[Path]],
    search_path: str | None = None,
    remember: Remember = try_always,
) -> Proot:
    """Return the `proot` on PATH, if it makes a sandbox here.

    `temporary` makes an empty directory of this node, in which programs can be executed; it stays
    until this process ends. Raises SandboxError with the reason if it does not.
    """
    path = program_on_path("proot", search_path)
    abi = required_landlock(f"{path} alone keeps nobody out, and ")
    with contextlib.ExitStack() as stack:

        @functools.cache
        def made(version: str, is_accelerated: bool) -> Proot:
            place = stack.enter_context(temporary())
            loaders = tuple(_write_loaders(Path(path), place))
            proot = Proot(
                path=path,
                version=version,
                loaders=loaders,
                abi=abi,
                place=place,
                is_accelerated=is_accelerated,
            )
            stack.callback(proot.launchers.close)
            return proot

        facts = remember(path, lambda: _try(path, made))
        proot = made(facts["version"], facts["is_accelerated"])
        atexit.register(stack.pop_all().close)
    return proot


def embedded_loaders(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the programs that PRoot has in itself to start others, each with the variable that
    names a file with it. It would write them to /tmp, where programs may be forbidden."""
    start = content.find(_ELF, 1)
    while start >= 0:
        try:
            size = _elf_size(content, start)
        except (KeyError, struct.error):
            size = 0
        if 0 < size <= len(content) - start:
            yield _LOADERS[content[start + 4]], content[start : start + size]
        start = content.find(_ELF, start + max(size, 1))


def _elf_size(content: bytes, start: int) -> int:
    """The size of an ELF file that ends with its section headers."""
    kind, offset_at, size_at = _SECTIONS[content[start + 4]]
    (offset,) = struct.unpack_from(kind, content, start + offset_at)
    size, number = struct.unpack_from("<HH", content, start + size_at)
    return int(offset + size * number)


def _write_loaders(proot: Path, place: Path) -> Iterator[tuple[str, Path]]:
    try:
        content = proot.read_bytes()
    except OSError as error:
        raise SandboxError(f"{proot} cannot be read", str(error.strerror)) from error
    if not content.startswith(_ELF):  # what its interpreter needs is not known to Landlock's rules
        raise SandboxError(f"{proot} is a script", "put the program that it starts first on PATH")
    for name, program in embedded_loaders(content):
        path = place / name
        if not path.exists():
            path.write_bytes(program)
            path.chmod(0o500)
            yield name, path


def _try(path: str, made: Callable[[str, bool], Proot]) -> Facts:
    """Ask for the version, and make a sandbox."""
    said = ask(path, "--version", "PRoot")
    found = _VERSION.search(said)
    if found is None:
        raise SandboxError(f"{path} --version fails: is it PRoot?", "mend PATH, or update it")
    proot = made(found.group(1), _ACCELERATED in said)
    try_runtime(proot, path, _advice, proot.place)
    return {"version": proot.version, "is_accelerated": proot.is_accelerated}


def _advice(said: str) -> str:
    if "ptrace" in said:
        return "ask that ptrace(2) is allowed here (kernel.yama.ptrace_scope, or a container's)"
    return "another one may be put first on PATH"
