# SPDX-License-Identifier: Apache-2.0
"""Starts another command in a sandbox that runs (see enter_sandbox.py)."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Mapping

from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.runtimes.seccomp import seccomp_program
from cwl_udss.runtimes.starting import starting
from cwl_udss.runtimes.status import Made
from cwl_udss.runtimes.streams import Pipes, with_relay
from cwl_udss.runtimes.words import check_words, encode_words, memory_file
from cwl_udss.sandbox import Streams

_PROGRAM = os.path.join(os.path.dirname(os.path.realpath(__file__)), "enter_sandbox.py")


def enter(
    process: int,
    command: tuple[str, ...],
    environment: Mapping[str, str],
    working_directory: str,
    streams: Streams,
) -> RuntimeProcess:
    """Start a command where `process` is, the first one of a sandbox, with an environment of its
    own. Raises SandboxError."""
    check_words(command, environment)
    variables = [f"{name}={value}" for name, value in environment.items()]
    words = (str(process), working_directory, str(len(variables)), *variables, *command)
    return with_relay(streams, functools.partial(_start, encode_words(words)))


def _start(words: bytes, pipes: Pipes) -> RuntimeProcess:
    reading, writing = os.pipe()
    passed = [memory_file(words), memory_file(seccomp_program()), writing]
    try:
        with starting(sys.executable, [reading]) as deferral:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", _PROGRAM, *map(str, passed)],
                stdin=pipes.stdin,
                stdout=pipes.stdout,
                stderr=pipes.stderr,
                env={},
                pass_fds=passed,
                start_new_session=pipes.needs_own_session(),
            )
    finally:
        for descriptor in passed:
            os.close(descriptor)
    return RuntimeProcess(process, pipes.relay, deferral, reading, made=Made(generations=0))
