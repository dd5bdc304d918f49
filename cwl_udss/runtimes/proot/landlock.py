# SPDX-License-Identifier: Apache-2.0
"""Landlock: a process gives up the right to open files but those that it names, for good.

Linux, Documentation/userspace-api/landlock.rst. What the kernel knows of it is its "ABI", a number:
what a kernel does not know cannot be forbidden there.
"""

from __future__ import annotations

import ctypes
import functools
import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.limits import MOVES, SIGNALS
from cwl_udss.sandbox import Limit

# The same on all architectures (Linux 5.13).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION, _RULE_PATH_BENEATH = 1, 1
_NO_NEW_PRIVILEGES = 38  # linux/prctl.h

# linux/landlock.h
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ALL_OF_FIRST = (1 << 13) - 1
_SCOPES = 0b11  # abstract sockets, signals
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

CAN_MOVE, CAN_FORBID_TRUNCATING, CAN_SCOPE = 2, 3, 6
"""From which ABI on files can be moved between directories; truncating is forbidden where writing
is; and so are signals to processes that are not restricted with the same rules, or their
children."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Rule:
    """What is allowed of a file, or of all that is in a directory: to read and execute, or all."""

    path: str
    writable: bool = False


@functools.cache
def landlock_abi() -> int:
    """Return what this kernel's Landlock can do; 0 if there is none, or it was not enabled."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _GET_VERSION)))


def required_landlock(why: str = "") -> int:
    """Return the same. Raises SandboxError if there is none; `why` is said before that."""
    abi = landlock_abi()
    if not abi:
        raise SandboxError(
            f"{why}this kernel has no Landlock",
            "Linux 5.13 and newer have it: ask that `landlock` is in the kernel's lsm=",
        )
    return abi


def forbid_new_privileges() -> None:
    """Have no program that is executed from now on give rights; who does so may restrict itself."""
    if _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise _error("prctl")


def restrict(rules: Iterable[Rule], abi: int) -> None:
    """Allow this process no files but these, as far as this ABI can.

    A path that is not there allows nothing. Raises OSError if the kernel refuses.
    """
    handled = _handled(abi)
    attributes = struct.pack("=QQQ", handled, 0, _SCOPES)
    size = len(attributes) if abi >= CAN_SCOPE else 8
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, size, 0)
    if ruleset < 0:
        raise _error("landlock_create_ruleset")
    for rule in rules:
        _add(ruleset, rule, handled)
    if _libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
        raise _error("landlock_restrict_self")
    os.close(ruleset)


def limits_of(limits: Iterable[Limit], abi: int) -> tuple[Limit, ...]:
    """Return which of the limits that there may be there are with a Landlock of this ABI."""
    known = {SIGNALS: abi < CAN_SCOPE, MOVES: abi < CAN_MOVE}
    return tuple(limit for limit in limits if known.get(limit, True))


def _handled(abi: int) -> int:
    handled = _ALL_OF_FIRST
    for right, since in ((_REFER, 2), (_TRUNCATE, 3), (_IOCTL_DEV, 5)):
        handled |= right if abi >= since else 0
    return handled


def _add(ruleset: int, rule: Rule, handled: int) -> None:
    try:
        descriptor = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    rights = handled if rule.writable else _READ
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= _OF_FILES
    attributes = struct.pack("=Qi", rights & handled, descriptor)
    failed = _libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, attributes, 0) != 0
    os.close(descriptor)
    if failed:
        raise _error(f"landlock_add_rule for {rule.path}")


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
