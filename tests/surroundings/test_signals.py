# SPDX-License-Identifier: Apache-2.0
"""What exit codes say of signals."""

from __future__ import annotations

import signal

import pytest

from cwl_udss.surroundings.signals import signal_words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "SIGKILL (mostly by the kernel where memory runs out"),
        (signal.SIGSEGV, "SIGSEGV (a fault of the program"),
        (signal.SIGILL, "SIGILL (it was probably built for a processor"),
        (signal.SIGBUS, "SIGBUS (a file"),
        (signal.SIGXCPU, "SIGXCPU (it has used all the processor time"),
        (signal.SIGWINCH, "SIGWINCH"),
    ],
)
def test_each_by_name_with_what_it_mostly_is(number: signal.Signals, words: str) -> None:
    said = signal_words(128 + number)
    assert said.startswith(f"exit code {128 + number} is 128 + {int(number)}, ")
    assert f"by signal: {words}" in said


def test_what_the_kernel_has_counted_is_no_guess() -> None:
    assert "at its memory limit" in signal_words(137, memory_kills=1)
    assert "at its memory limit" not in signal_words(139, memory_kills=1)


@pytest.mark.parametrize("code", [0, 1, 126, 127, 128, 193, 255])
def test_other_codes_say_nothing(code: int) -> None:
    assert signal_words(code) == ""
