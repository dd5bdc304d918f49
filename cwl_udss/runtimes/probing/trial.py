# SPDX-License-Identifier: Apache-2.0
"""Trying a runtime: by a sandbox in which there is nothing, so that a command that is not there is
told of by a program that was started there."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.sandbox import Ending, RootFilesystem, Runtime, Sandbox, Streams

PROBE_SECONDS = 20.0


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
        streams = Streams(stdout=messages.fileno(), stderr=messages.fileno())
        try:
            result = runtime.start(sandbox, streams).wait(PROBE_SECONDS)
        except SandboxError as error:
            messages.seek(0)
            lines = messages.read().decode(errors="replace").strip().splitlines()
            said = lines[0] if lines else error.problem
            raise SandboxError(
                f"no sandbox can be made with {path} ({said})", advice(said)
            ) from error
        if result.ending is Ending.TIME_LIMIT:
            raise no_answer(path)
        if result.ending is not Ending.NOT_STARTED:
            raise SandboxError(
                f"no sandbox can be made with {path} (it ends with exit code {result.exit_code})",
                advice(""),
            )


def ask(path: str, options: str, name: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a program says when it is asked for its version or for help. Raises SandboxError
    if it cannot be executed, fails or does not come to an end: it should be `name`."""
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
        raise SandboxError(f"{path} cannot be executed", str(error.strerror)) from error
    if done.returncode != 0:
        raise SandboxError(f"{path} {options} fails: is it {name}?", "mend PATH, or update it")
    return done.stdout.decode(errors="replace").strip()


def no_answer(path: str) -> SandboxError:
    """Say that a program hangs."""
    return SandboxError(
        f"{path} has not come to an end in {PROBE_SECONDS:.0f} s",
        "is the filesystem there that it is on?",
    )
