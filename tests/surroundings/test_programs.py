# SPDX-License-Identifier: Apache-2.0
"""Why a program is not executed: what the kernel refuses is told by what is there."""

from __future__ import annotations

import os
import platform
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.sandbox import Bind, Ending, RootFilesystem, Sandbox, Streams
from cwl_udss.surroundings.programs import why_not_executed

HERE = {"x86_64": 62, "aarch64": 183}.get(platform.machine(), 62)
OTHER, OTHER_NAME = (183, "aarch64") if HERE == 62 else (62, "x86_64")


def program(machine: int, loader: str | None) -> bytes:
    """The beginning of an ELF program, linked dynamically if it has a loader."""
    path = b"" if loader is None else loader.encode() + b"\0"
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        *("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, int(loader is not None), 0, 0, 0)
    )
    interpreter = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(path), len(path), 1)
    return header + (interpreter if loader else b"") + path


@pytest.fixture
def root(busybox_root: Path, tmp_path: Path) -> Path:
    """A root filesystem to put programs into."""
    root = tmp_path / "root"
    shutil.copytree(busybox_root, root, symlinks=True)
    (root / "usr/bin").mkdir(parents=True)
    return root


@pytest.fixture(scope="module")
def runtime() -> Bubblewrap:
    return find_bubblewrap(None)


@pytest.fixture
def refused(root: Path, tmp_path: Path, runtime: Bubblewrap) -> Callable[..., str]:
    """Have a command refused by the kernel, in a sandbox; return what is said of it."""
    (tmp_path / "out").mkdir()

    def run(*command: str, path: str = "/usr/bin:/bin", is_shell: bool = False) -> str:
        out = Bind(source=str(tmp_path / "out"), destination="/out", writable=True)
        sandbox = Sandbox(
            root=RootFilesystem(path=root),
            command=command,
            environment={"PATH": path},
            working_directory="/out",
            directories=("/var/lib/cwl",),
            binds=(out,),
        )
        with open(os.devnull, "wb") as nothing:
            streams = Streams(stdout=nothing.fileno(), stderr=nothing.fileno())
            result = runtime.start(sandbox, streams).wait()
        assert result.ending is Ending.NOT_STARTED or is_shell
        assert result.exit_code
        return why_not_executed(sandbox, result)

    return run


def put(path: Path, content: bytes, mode: int = 0o755) -> None:
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"#!/bin/sh\r\necho\r\n", r"have ('/bin/sh\r'): its lines end as on Windows"),
        (b"#!/usr/bin/perl\nprint 1;\n", "interpreter that the image does not have"),
        (b"#! /usr/bin/perl -w\n", "('/usr/bin/perl')"),
        (b"#!relative/interpreter\n", "('relative/interpreter')"),
        (b"#!/bin\n", "('/bin'): /bin is a directory"),
        (b"#!/usr/bin/outer\n", "('/usr/bin/outer'): the first line of /usr/bin/outer names"),
        (b"#!/etc/passwd\n", "('/etc/passwd'): /etc/passwd is not executable"),
        (program(HERE, "/lib/ld-musl-x86_64.so.1"), "('/lib/ld-musl-x86_64.so.1', musl's"),
        (program(HERE, "/lib64/ld-linux-x86-64.so.2"), "needs a loader that the image does not"),
    ],
)
def test_a_file_that_the_kernel_refuses(
    refused: Callable[..., str], root: Path, content: bytes, reason: str
) -> None:
    put(root / "usr/bin/tool", content)
    put(root / "usr/bin/outer", b"#!/usr/bin/inner\n")
    for name in ("tool", "/usr/bin/tool"):
        assert reason in refused(name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (program(OTHER, None), f"is a program for {OTHER_NAME}, and this machine is"),
        (program(OTHER, "/lib/ld.so"), f"and is for {OTHER_NAME}"),
        (b"\x7fELF\x02\x01", "is the beginning of a program"),
        (b"#!" + b"/long" * 60 + b"\n", "longer than the kernel reads"),
        (b"", "/usr/bin/tool is an empty file"),
        (b"echo hello\n", "/usr/bin/tool is neither a program for Linux nor a script"),
        (b"#!\n", "names no interpreter"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "has a byte order mark"),
        (b"MZ\x90\0", "is neither a program for Linux"),
    ],
)
def test_a_file_that_needs_a_shell_where_there_is_none(
    refused: Callable[..., str], root: Path, content: bytes, reason: str
) -> None:
    """Some C libraries have a shell run what the kernel does not know: execvp(3)."""
    (root / "bin/sh").unlink()
    put(root / "usr/bin/tool", content)
    assert reason in refused("tool")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (program(OTHER, None), f"is a program for {OTHER_NAME}, and this machine is"),
        (b"#!" + b"/long" * 60 + b"\nexit 3\n", "longer than the kernel reads"),
        (b"exit 3\n", ""),
    ],
)
def test_a_file_that_a_shell_tries_to_read(
    refused: Callable[..., str], root: Path, content: bytes, reason: str
) -> None:
    put(root / "usr/bin/tool", content)
    said = refused("tool", is_shell=True)
    assert reason in said
    assert bool(reason) == bool(said)


def test_a_file_without_the_mode(refused: Callable[..., str], root: Path, tmp_path: Path) -> None:
    put(root / "usr/bin/tool", b"#!/bin/sh\n", mode=0o644)
    assert "/usr/bin/tool is not executable (mode 0644): chmod +x" in refused("tool")
    put(tmp_path / "out/script.sh", b"#!/bin/sh\n", mode=0o644)
    assert "/out/script.sh is not executable (mode 0644)" in refused("./script.sh")
    assert "name it ./script.sh" in refused("script.sh")


def test_what_is_no_file(refused: Callable[..., str], root: Path) -> None:
    (root / "usr/bin/tool").mkdir()
    os.mkfifo(root / "usr/bin/pipe", 0o755)
    assert refused("tool") == "/usr/bin/tool is a directory"
    assert refused("pipe") == "/usr/bin/pipe is no file"


def test_links(refused: Callable[..., str], root: Path) -> None:
    """They are followed in the image; what the host has at their ends is another's."""
    (root / "usr/bin/dangling").symlink_to("../lib/tool-1.2/tool")
    (root / "usr/bin/outside").symlink_to(f"/../..{shutil.which('env')}")
    (root / "usr/bin/circle").symlink_to("circle")
    assert "it is a link to /usr/lib/tool-1.2/tool, which the image" in refused("/usr/bin/dangling")
    assert "which the image does not have" in refused("/usr/bin/outside")
    assert "levels of symbolic links" in refused("/usr/bin/circle")


@pytest.mark.parametrize(
    ("command", "path", "reason"),
    [
        ("none", "/usr/bin:/bin", "no such program is in the image (PATH is /usr/bin:/bin)"),
        ("/usr/bin/none", "", "no such program is in the image (/usr/bin/none)"),
        ("none", "", "PATH is empty"),
        ("echo hello", "/bin", "give the words one by one ([echo, …])"),
        ("", "/bin", "its name is empty"),
    ],
)
def test_a_name_of_nothing(
    refused: Callable[..., str], root: Path, command: str, path: str, reason: str
) -> None:
    (root / "bin/echo").symlink_to("busybox")
    assert reason in refused(command, path=path)
