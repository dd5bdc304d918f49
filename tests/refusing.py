# SPDX-License-Identifier: Apache-2.0
"""Runs a command for which the kernel answers some system calls with an error, as an older or a
stricter one would: refusing.py ERROR CALL[,CALL...] COMMAND..."""

from __future__ import annotations

import errno
import os
import sys

from cwl_udss.runtimes.proot.landlock import forbid_new_privileges
from cwl_udss.runtimes.proot.request import restrict_calls
from cwl_udss.runtimes.seccomp import ALLOW, JUMP_EQUAL, LOAD_WORD, RETURN, instruction, when

_CALL_NUMBER = 0  # in struct seccomp_data
_ERRNO = 0x00050000  # SECCOMP_RET_ERRNO

if __name__ == "__main__":
    _, error, calls, *command = sys.argv
    answer = [instruction(RETURN, _ERRNO | getattr(errno, error))]
    program = [instruction(LOAD_WORD, _CALL_NUMBER)]
    for number in calls.split(","):
        program += when(JUMP_EQUAL, int(number), answer)
    forbid_new_privileges()
    restrict_calls(b"".join((*program, instruction(RETURN, ALLOW))))
    os.execvp(command[0], command)
