# SPDX-License-Identifier: Apache-2.0
"""What a signal that has ended a step means, for the person."""

from __future__ import annotations

import signal

from cwl_udss.sandbox import SIGNAL_OFFSET

_BY_KERNEL = "the kernel has ended it at its memory limit: let it have more, by ramMin for a job"
# signal(7) says who sends each; what it mostly is where workflows run is experience.
_MEANINGS = {
    signal.SIGHUP: "its terminal or session has gone",
    signal.SIGINT: "somebody has interrupted it",
    signal.SIGQUIT: "somebody has ended it, for a core dump",
    signal.SIGILL: "it was probably built for a processor with other instructions than this one's",
    signal.SIGTRAP: "it has stopped itself where no debugger was",
    signal.SIGABRT: "it has given up by itself; its standard error may say why",
    signal.SIGBUS: "a file that it had mapped was cut off, or its /dev/shm or a disk was full",
    signal.SIGFPE: "it has divided by zero, or the like",
    signal.SIGKILL: "mostly by the kernel where memory runs out, or by who limits it there",
    signal.SIGSEGV: "a fault of the program, or its stack was too small (ulimit -s)",
    signal.SIGPIPE: "it has written to what nobody read any more",
    signal.SIGALRM: "a time that it had set itself was over",
    signal.SIGTERM: "somebody has asked it to end: the batch system at a limit, say",
    signal.SIGUSR1: "the batch system may have warned of a limit by it",
    signal.SIGUSR2: "the batch system may have warned of a limit by it",
    signal.SIGXCPU: "it has used all the processor time that it may (ulimit -t)",
    signal.SIGXFSZ: "it has written a larger file than it may (ulimit -f)",
    signal.SIGSYS: "it has made a system call that sandboxes do not allow, as 32-bit programs do",
}


def signal_words(exit_code: int, memory_kills: int = 0) -> str:
    """Return what an exit code says of a signal, "" if it says nothing of any.

    `memory_kills` is how many processes the kernel has killed meanwhile (see resources). Nobody
    but its parent can tell whether a program was killed, or has ended with that code by itself.
    """
    try:
        number = signal.Signals(exit_code - SIGNAL_OFFSET)
    except ValueError:
        return ""
    meaning = _MEANINGS.get(number, "")
    if number is signal.SIGKILL and memory_kills:
        meaning = _BY_KERNEL
    words = (
        f"exit code {exit_code} is {SIGNAL_OFFSET} + {int(number)}, "
        f"as of a program that was terminated by signal: {number.name}"
    )
    return f"{words} ({meaning})" if meaning else words
