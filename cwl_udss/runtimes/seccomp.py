# SPDX-License-Identifier: Apache-2.0
"""The system call filter of every sandbox, as a classic BPF program; no libseccomp needed.

It closes what namespaces leave open: pushing characters into the caller's terminal (TIOCSTI), the
kernel's keyrings, mounts and further user namespaces, and interfaces of the kernel that no tool of
a pipeline needs and that have been the way out of containers before.
The layout of the program and of its input: Linux Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import struct
from collections.abc import Callable

from cwl_udss.errors import SandboxError
from cwl_udss.records import record

# Opcodes of linux/bpf_common.h, combined as the kernel's own examples do.
LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_GREATER_EQUAL = 0x35  # BPF_JMP | BPF_JGE | BPF_K
JUMP_BITS_SET = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

_KILL_PROCESS = 0x80000000
ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
# ENOSYS makes the C library fall back to an older call, whose arguments can be looked at.
NOT_IMPLEMENTED = 0x00050000 | errno.ENOSYS
_SUCCEED = 0x00050000  # SECCOMP_RET_ERRNO with no error

INSTRUCTION_BYTES = 8
# Offsets in struct seccomp_data. Of a 64-bit argument only the low half is compared: the kernel
# ignores the high half of ioctl's request, so a filter that compares all of it can be passed by.
_CALL_NUMBER = 0
_ARCHITECTURE = 4
FIRST_ARGUMENT = 16
SECOND_ARGUMENT = 24
THIRD_ARGUMENT = 32

_CLONE_NEWUSER = 0x10000000
_TIOCSTI = 0x5412
_TIOCLINUX = 0x541C
# Tried one after the other: with fewer the program would be too long for its jumps (255).
_NEIGHBOURS = 4
_X32_BIT = 0x40000000
_DEVICE_BIT = 0x2000  # in the modes of character and block devices, not in a pipe's: stat.h

# Calls with the same number everywhere (Linux 5.1 and later).
_NEW_CALLS_NOT_IMPLEMENTED = (
    *(425, 426, 427),  # io_uring_setup, _enter, _register: past a filter, by design
    *(428, 429, 430, 431, 432, 433),  # open_tree, move_mount, fsopen, fsconfig, fsmount, fspick
    435,  # clone3: its flags are behind a pointer
    442,  # mount_setattr
)


Answers = dict[int, list[bytes]]
"""Of calls, by number: the instructions that decide them; every path through them returns."""


@record(frozen=True, kw_only=True)
class CallTable:
    """The numbers of the filtered system calls on one architecture."""

    audit_architecture: int
    clone: int
    ioctl: int
    refused: tuple[int, ...]
    pretended: tuple[int, ...]
    make_node: tuple[tuple[int, int], ...]
    """mknod and mknodat, each with where its mode is."""
    chroot: int
    has_x32: bool = False


# The refused calls, in this order: unshare setns mount umount2 pivot_root chroot keyctl add_key
# request_key bpf userfaultfd perf_event_open syslog acct quotactl kexec_load init_module
# finit_module delete_module reboot swapon swapoff open_by_handle_at; then what only some have:
# uselib, kexec_file_load, umount.
# The pretended ones: chown fchown lchown fchownat setuid setgid setreuid setregid setgroups
# setresuid setresgid setfsuid setfsgid capset setxattr lsetxattr fsetxattr, and 32-bit forms.
_X86_64 = CallTable(
    audit_architecture=0xC000003E,
    clone=56,
    ioctl=16,
    refused=(
        *(272, 308, 165, 166, 155, 161, 250, 248, 249, 321, 323, 298, 103, 163, 179, 246, 175),
        *(313, 176, 169, 167, 168, 304, 134, 320),
    ),
    pretended=(
        *(92, 93, 94, 260, 105, 106, 113, 114, 116, 117, 119, 122, 123, 126, 188, 189, 190),
    ),
    make_node=((133, SECOND_ARGUMENT), (259, THIRD_ARGUMENT)),
    chroot=161,
    has_x32=True,
)
_I386 = CallTable(
    audit_architecture=0x40000003,
    clone=120,
    ioctl=54,
    refused=(
        *(310, 346, 21, 52, 217, 61, 288, 286, 287, 357, 374, 336, 103, 51, 131, 283, 128),
        *(350, 129, 88, 87, 115, 342, 86, 22),
    ),
    pretended=(
        *(182, 95, 16, 298, 23, 46, 70, 71, 81, 164, 170, 138, 139, 185, 226, 227, 228),
        *(212, 207, 198, 213, 214, 203, 204, 206, 208, 210, 215, 216),
    ),
    make_node=((14, SECOND_ARGUMENT), (297, THIRD_ARGUMENT)),
    chroot=61,
)
_AARCH64 = CallTable(
    audit_architecture=0xC00000B7,
    clone=220,
    ioctl=29,
    refused=(
        *(97, 268, 40, 39, 41, 51, 219, 217, 218, 280, 282, 241, 116, 89, 60, 104, 105),
        *(273, 106, 142, 224, 225, 265, 294),
    ),
    pretended=(55, 54, 146, 144, 145, 143, 159, 147, 149, 151, 152, 91, 5, 6, 7),
    make_node=((33, THIRD_ARGUMENT),),
    chroot=51,
)

# 32-bit programs run on x86-64 (old binaries of pipelines are), so they have their own table.
CALL_TABLES = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64,)}


@functools.cache
def seccomp_program(machine: str | None = None, *, pretend: bool = False) -> bytes:
    """Return the filter for `machine` (of `uname -m`; default: this one), as bwrap reads it.

    With `pretend`, for building images, calls that change owners and identities, make devices or
    set extended attributes do nothing and succeed, and chroot(2) is allowed: package managers see
    themselves as root, although there is only one user (as ch-image(1), --force=seccomp).
    Raises SandboxError on an architecture whose call numbers are not known here.
    """
    return filter_program(_pretence if pretend else None, machine)


def filter_program(further: Callable[[CallTable], Answers] | None, machine: str | None) -> bytes:
    """Return the filter with more answers, or others, than every sandbox's has."""
    machine = machine or os.uname().machine
    try:
        tables = CALL_TABLES[machine]
    except KeyError:
        raise SandboxError(
            f"no system call filter for {machine}",
            f"sandboxes are made on {' and '.join(CALL_TABLES)} only",
        ) from None
    sections = [_filter_of(table, further) for table in tables]
    program = [instruction(LOAD_WORD, _ARCHITECTURE)]
    for table, section in zip(tables, sections, strict=True):
        program.append(instruction(JUMP_EQUAL, table.audit_architecture, 0, len(section)))
        program.extend(section)
    program.append(instruction(RETURN, _KILL_PROCESS))
    return b"".join(program)


def _filter_of(table: CallTable, further: Callable[[CallTable], Answers] | None) -> list[bytes]:
    """The instructions that decide a call on one architecture; every path through them returns."""
    answers = {
        **{number: [instruction(RETURN, REFUSE)] for number in table.refused},
        **{number: [instruction(RETURN, NOT_IMPLEMENTED)] for number in _NEW_CALLS_NOT_IMPLEMENTED},
        table.clone: [
            instruction(LOAD_WORD, FIRST_ARGUMENT),
            *when(JUMP_BITS_SET, _CLONE_NEWUSER, [instruction(RETURN, REFUSE)]),
            instruction(RETURN, ALLOW),
        ],
        table.ioctl: [
            instruction(LOAD_WORD, SECOND_ARGUMENT),
            *when(JUMP_EQUAL, _TIOCSTI, [instruction(RETURN, REFUSE)]),
            *when(JUMP_EQUAL, _TIOCLINUX, [instruction(RETURN, REFUSE)]),
            instruction(RETURN, ALLOW),
        ],
    }
    if further is not None:
        answers |= further(table)
    section = [instruction(LOAD_WORD, _CALL_NUMBER)]
    if table.has_x32:
        section += when(_JUMP_GREATER_EQUAL, _X32_BIT, [instruction(RETURN, NOT_IMPLEMENTED)])
    return section + _search(sorted(answers.items()))


def _search(answers: list[tuple[int, list[bytes]]]) -> list[bytes]:
    """Find a call's answer by halves, and allow it if there is none: Linux before 5.11 goes through
    the program with each call."""
    if len(answers) <= _NEIGHBOURS:
        tried = [when(JUMP_EQUAL, number, answer) for number, answer in answers]
        return [*itertools.chain(*tried), instruction(RETURN, ALLOW)]
    middle = len(answers) // 2
    below, above = _search(answers[:middle]), _search(answers[middle:])
    return [instruction(_JUMP_GREATER_EQUAL, answers[middle][0], len(below)), *below, *above]


def _pretence(table: CallTable) -> Answers:
    succeed = [instruction(RETURN, _SUCCEED)]
    allow = [instruction(RETURN, ALLOW)]
    nodes = {
        number: [
            instruction(LOAD_WORD, mode),
            *when(JUMP_BITS_SET, _DEVICE_BIT, succeed),
            *allow,
        ]
        for number, mode in table.make_node
    }
    return {**dict.fromkeys(table.pretended, succeed), **nodes, table.chroot: allow}


def when(comparison: int, value: int, then: list[bytes]) -> list[bytes]:
    """Follow these instructions if what was loaded compares so."""
    return [instruction(comparison, value, 0, len(then)), *then]


def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return an instruction of linux/bpf_common.h."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
