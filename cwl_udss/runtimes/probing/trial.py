# SPDX-License-Identifier: Apache-2.0
"""Trying a runtime: by a sandbox in which there is nothing, so that a command that is not there is
told of by a program that was started there."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import IO

from cwl_udss.errors import SandboxError
from cwl_udss.sandbox import Ending, Result, RootFilesystem, Runtime, Sandbox, Streams

PROBE_SECONDS = 20.0
_LOGGED = re.compile(r'time="[^"]*" level=\w+ msg="(.*)"')


def try_runtime(
    runtime: Runtime, path: str, advice: Callable[[str], str], directory: Path | None = None
) -> None:
    """Make a sandbox. Raises SandboxError with what the program at `path` says if that fails, and
    `advice` on that."""
    with (
        tempfile.TemporaryDirectory(dir=directory) as empty,
        tempfile.TemporaryFile() as messages,
    ):
        sandbox = Sandbox(
            root=RootFilesystem(path=Path(empty)),
            command=("/nothing",),
            environment={},
            working_directory="/",
        )
        result = run_trial(runtime, sandbox, path, advice, output=messages, messages=messages)
        if result.ending is not Ending.NOT_STARTED:
            raise not_made(path, f"it ends with exit code {result.exit_code}", advice(""))


def run_trial(
    runtime: Runtime,
    sandbox: Sandbox,
    path: str,
    advice: Callable[[str], str],
    *,
    output: IO[bytes],
    messages: IO[bytes],
) -> Result:
    """Run a sandbox's command. Raises SandboxError as try_runtime() does if there is no sandbox."""
    streams = Streams(stdout=output.fileno(), stderr=messages.fileno())
    try:
        result = runtime.start(sandbox, streams).wait(PROBE_SECONDS)
    except SandboxError as error:
        said = first_line(messages) or error.problem
        raise not_made(path, said, advice(said)) from error
    if result.ending is Ending.TIME_LIMIT:
        raise no_answer(path)
    return result


def first_line(messages: IO[bytes]) -> str:
    """Return the first line of what was said; "" if that is nothing. Of a line of the log that
    programs in Go write it is the message."""
    messages.seek(0)
    lines = messages.read().decode(errors="replace").strip().splitlines()
    if not lines:
        return ""
    logged = _LOGGED.fullmatch(lines[0])
    return lines[0] if logged is None else logged[1].replace('\\"', '"')


def not_made(path: str, said: str, advice: str) -> SandboxError:
    """Say what has come of trying."""
    return SandboxError(f"no sandbox can be made with {path} ({said})", advice)


def program_on_path(name: str, search_path: str | None, advice: str = "") -> str:
    """Return the program of this name. Raises SandboxError if there is none."""
    path = shutil.which(name, path=search_path)
    if path is None:
        raise SandboxError(
            f"there is no {name} on this machine", advice or f"install the package {name}"
        )
    return path


def check_options(program: str, help_text: Container[str], required: Iterable[str]) -> None:
    """Raise SandboxError for a program whose help, a text or its words, names no option that is
    needed. `program` is what it is called. Distributions backport options, so that no version is
    compared."""
    missing = [option.strip() for option in required if option not in help_text]
    if missing:
        raise SandboxError(f"{program} is too old: it has no {missing[0]}", "update it")


def ask(
    path: str,
    options: str,
    name: str,
    environment: Mapping[str, str] | None = None,
    advice: str = "mend PATH, or update it",
) -> str:
    """Return what a program says when it is asked for its version or for help. Raises SandboxError
    with `advice` if it cannot be executed, fails or does not come to an end: it should be `name`.
    """
    try:
        done = subprocess.run(
            [path, *options.split()],
            env=dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise no_answer(path) from error
    except OSError as error:
        raise SandboxError(f"{path} cannot be executed: {error.strerror}", advice) from error
    if done.returncode != 0:
        raise SandboxError(f"{path} {options} fails: is it {name}?", advice)
    return done.stdout.decode(errors="replace").strip()


def no_answer(path: str) -> SandboxError:
    """Say that a program hangs."""
    return SandboxError(
        f"{path} has not come to an end in {PROBE_SECONDS:.0f} s",
        "is the filesystem there that it is on?",
    )
