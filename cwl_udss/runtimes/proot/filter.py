# SPDX-License-Identifier: Apache-2.0
"""The system call filter where there are no namespaces: what those would have kept apart, and what
PRoot lets through.

PRoot translates the paths in calls that it knows; in others they lead to the host's tree (seen with
5.1 and 5.4). The C library falls back to older calls if a kernel does not have the new ones.
"""

from __future__ import annotations

import errno
import functools
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cwl_udss.runtimes.seccomp import (
    ALLOW,
    FIRST_ARGUMENT,
    JUMP_BITS_SET,
    JUMP_EQUAL,
    LOAD_WORD,
    NOT_IMPLEMENTED,
    REFUSE,
    RETURN,
    SECOND_ARGUMENT,
    THIRD_ARGUMENT,
    Answers,
    CallTable,
    filter_program,
    instruction,
    when,
)

_ERRNO = 0x00050000  # SECCOMP_RET_ERRNO, to which the number is added
_SUCCEED = _ERRNO
_AF_UNIX = 1
_WRITE_ACCESS, _TRUNCATE = 0b11, 0o1000  # of open(2): O_WRONLY or O_RDWR, O_TRUNC

# openat2, faccessat2, fchmodat2, then what handles files by path since Linux 6.13.
_PATHS_NOT_TRANSLATED = (437, 439, 452, *range(463, 470))


@dataclass(frozen=True, kw_only=True)
class _Calls:
    """The numbers of further calls on one architecture."""

    paths_not_translated: tuple[int, ...]
    """execveat, renameat2, statx, name_to_handle_at."""
    shared_by_user: tuple[int, ...]
    """What makes or finds objects of an IPC namespace: shmget, semget, msgget (ipc), mq_open,
    mq_unlink."""
    socket: int
    scheduling: tuple[int, ...]
    """sched_setaffinity, sched_setparam, sched_setscheduler, sched_setattr: of a process, or 0."""
    prlimit: int
    priorities: Mapping[int, int]
    """setpriority, ioprio_set, each with what says that it is of a process: they know groups of
    processes, and all of a user's, too."""
    truncate: tuple[int, ...]
    open: Mapping[int, int]
    """open and openat, each with where its flags are."""
    socketcall: tuple[int, ...] = ()
    """All that is done with sockets, as arguments that no filter sees; not used since Linux 4.3."""


_CALLS = {
    0xC000003E: _Calls(  # x86-64
        paths_not_translated=(322, 316, 332, 303),
        shared_by_user=(29, 64, 68, 240, 241),
        socket=41,
        scheduling=(203, 142, 144, 314),
        prlimit=302,
        priorities={141: 0, 251: 1},
        truncate=(76,),
        open={2: SECOND_ARGUMENT, 257: THIRD_ARGUMENT},
    ),
    0x40000003: _Calls(  # i386
        paths_not_translated=(358, 353, 383, 341),
        shared_by_user=(395, 393, 399, 117, 277, 278),
        socket=359,
        scheduling=(241, 154, 156, 351),
        prlimit=340,
        priorities={97: 0, 289: 1},
        truncate=(92, 193),
        open={5: SECOND_ARGUMENT, 295: THIRD_ARGUMENT},
        socketcall=(102,),
    ),
    0xC00000B7: _Calls(  # aarch64
        paths_not_translated=(281, 276, 291, 264),
        shared_by_user=(194, 190, 186, 180, 181),
        socket=198,
        scheduling=(122, 118, 119, 274),
        prlimit=261,
        priorities={140: 0, 30: 1},
        truncate=(45,),
        open={56: THIRD_ARGUMENT},
    ),
}


@functools.cache
def proot_filter(
    *,
    network: bool,
    forbids_truncating: bool = False,
    is_traced: bool = True,
    machine: str | None = None,
) -> bytes:
    """Return the filter. `forbids_truncating` is for a Landlock that does not know of it: files can
    then be emptied only by who opens them to write. Without PRoot nothing `is_traced`, and no paths
    have to be translated.

    Raises SandboxError on an architecture whose call numbers are not known here.
    """
    answers = [_other_processes]
    answers += [_paths] if is_traced else []
    answers += [] if network else [_sockets]
    answers += [_truncating] if forbids_truncating else []

    def further(table: CallTable) -> Answers:
        calls = _CALLS[table.audit_architecture]
        return functools.reduce(operator.or_, (answer(calls) for answer in answers))

    return filter_program(further, machine)


def _paths(calls: _Calls) -> Answers:
    numbers = (*_PATHS_NOT_TRANSLATED, *calls.paths_not_translated)
    return _answered(numbers, NOT_IMPLEMENTED)


def _other_processes(calls: _Calls) -> Answers:
    """A process may be itself only (0): by the number of a thread of one's own, too, so that what
    asks for that is told that it is done."""
    shared = _answered(calls.shared_by_user, NOT_IMPLEMENTED)
    own = {number: _if_zero(FIRST_ARGUMENT, _SUCCEED) for number in calls.scheduling}
    limits = {calls.prlimit: _if_zero(FIRST_ARGUMENT, REFUSE)}
    priorities = {
        number: [
            instruction(LOAD_WORD, FIRST_ARGUMENT),
            *when(JUMP_EQUAL, of_process, _if_zero(SECOND_ARGUMENT, REFUSE)),
            instruction(RETURN, REFUSE),
        ]
        for number, of_process in calls.priorities.items()
    }
    return {**shared, **own, **limits, **priorities}


def _if_zero(place: int, otherwise: int) -> list[bytes]:
    return [
        instruction(LOAD_WORD, place),
        *when(JUMP_EQUAL, 0, [instruction(RETURN, ALLOW)]),
        instruction(RETURN, otherwise),
    ]


def _sockets(calls: _Calls) -> Answers:
    """Only those by which processes of this machine speak, by paths that the step sees."""
    return {
        **_answered(calls.socketcall, NOT_IMPLEMENTED),
        calls.socket: [
            instruction(LOAD_WORD, FIRST_ARGUMENT),
            *when(JUMP_EQUAL, _AF_UNIX, [instruction(RETURN, ALLOW)]),
            instruction(RETURN, _ERRNO | errno.EAFNOSUPPORT),
        ],
    }


def _truncating(calls: _Calls) -> Answers:
    refused = _ERRNO | errno.EACCES
    allow = [instruction(RETURN, ALLOW)]
    opened = {
        number: [
            instruction(LOAD_WORD, place),
            *when(JUMP_BITS_SET, _WRITE_ACCESS, allow),
            *when(JUMP_BITS_SET, _TRUNCATE, [instruction(RETURN, refused)]),
            *allow,
        ]
        for number, place in calls.open.items()
    }
    return {**_answered(calls.truncate, refused), **opened}


def _answered(numbers: Iterable[int], answer: int) -> Answers:
    return {number: [instruction(RETURN, answer)] for number in numbers}
