# SPDX-License-Identifier: Apache-2.0
"""What is to be started for a step, and becoming it."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import signal
import sys
from dataclasses import dataclass

from cwl_udss.runtimes.proot.landlock import Rule, forbid_new_privileges, restrict
from cwl_udss.runtimes.seccomp import INSTRUCTION_BYTES
from cwl_udss.sandbox import Sandbox

FIRST_DESCRIPTOR = 9
"""By which the first program speaks."""

_SET_PARENT_DEATH_SIGNAL, _SET_SECCOMP = 1, 22  # linux/prctl.h
_DROP_FROM_BOUNDING_SET, _AMBIENT_CAPABILITIES, _CLEAR_ALL = 24, 47, 4
_MOST_CAPABILITIES = 64
_SECCOMP_MODE_FILTER = 2
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be started."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    rules: tuple[Rule, ...]
    abi: int
    """Of Landlock."""
    filter: bytes
    """Of system calls."""
    cpus: tuple[int, ...] | None
    """Those to be used; None is all that this process may use."""
    is_traced: bool = True
    """Whether it is PRoot that is started, which has all of the step's processes in its hand."""

    def to_json(self) -> bytes:
        """Return what from_json() reads."""
        rules = [[rule.path, rule.writable] for rule in self.rules]
        filter_ = base64.b64encode(self.filter).decode()
        return json.dumps({**vars(self), "rules": rules, "filter": filter_}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Request:
        """Return a request."""
        fields = json.loads(content)
        return cls(
            arguments=tuple(fields["arguments"]),
            environment=fields["environment"],
            rules=tuple(Rule(*rule) for rule in fields["rules"]),
            abi=fields["abi"],
            filter=base64.b64decode(fields["filter"]),
            cpus=None if fields["cpus"] is None else tuple(fields["cpus"]),
            is_traced=fields["is_traced"],
        )


def cpus_for(sandbox: Sandbox) -> tuple[int, ...] | None:
    """Return the processors of a step that may not have all: those of this thread now, which does
    not start it itself."""
    return None if sandbox.cpu_limit is None else tuple(os.sched_getaffinity(0))


class _Filter(ctypes.Structure):
    """struct sock_fprog of linux/filter.h. To be made before files cannot be read any more: Python
    3.14 and later import a module for that."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def become(request: Request, writing: int) -> None:
    """Give up all rights that the step does not have, and become PRoot, or the first program. Never
    returns."""
    try:
        parent = os.getppid()
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGQUIT, 0, 0, 0)
        os.dup2(writing, FIRST_DESCRIPTOR, inheritable=True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; the tool would, too
            signal.signal(number, signal.SIG_DFL)
        os.chdir("/")
        if request.cpus is not None:
            os.sched_setaffinity(0, request.cpus)
        _drop_capabilities()
        forbid_new_privileges()
        restrict(request.rules, request.abi)
        restrict_calls(request.filter)
        if os.getppid() == parent:
            os.execve(request.arguments[0], request.arguments, request.environment)  # noqa: S606
    except OSError as error:
        print(f"cwl-udss: {request.arguments[0]} cannot be started: {error}", file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(1)


def _drop_capabilities() -> None:
    """Have none after execve(2), not even as root: capabilities(7). Who has none may not do this,
    and need not."""
    for capability in range(_MOST_CAPABILITIES):
        _libc.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)
    _libc.prctl(_AMBIENT_CAPABILITIES, _CLEAR_ALL, 0, 0, 0)


def restrict_calls(program: bytes) -> None:
    """Have a filter of system calls decide for this process, for good. Raises OSError."""
    wanted = _Filter(len(program) // INSTRUCTION_BYTES, program)
    if _libc.prctl(_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
