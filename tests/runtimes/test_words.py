# SPDX-License-Identifier: Apache-2.0
"""What is too much, or no name, for the kernel is told before it refuses it without saying why."""

from __future__ import annotations

import re
import resource
import subprocess

import pytest

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.words import check_words

LONGEST = 32 * resource.getpagesize() - 1


@pytest.mark.parametrize("size", [LONGEST, LONGEST + 1])
def test_as_long_a_word_as_the_kernel_takes(size: int) -> None:
    word = "é" + "x" * (size - 2)
    command = ("/bin/true", word)
    if size == LONGEST:
        check_words(command, {})
        subprocess.run(command, env={}, check=True)
    else:
        with pytest.raises(OSError, match="Argument list too long"):
            subprocess.run(command, env={}, check=False)
        with pytest.raises(SandboxError, match=f"has {size} bytes.* {LONGEST} at most"):
            check_words(command, {})


def test_a_variable_counts_with_its_name() -> None:
    check_words((), {"N": "x" * (LONGEST - 2)})
    with pytest.raises(SandboxError, match="'N=xxx"):
        check_words((), {"N": "x" * (LONGEST - 1)})


def test_all_words_together() -> None:
    command = ("/bin/true", *["x" * 100_000] * 70)
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(command, env={}, check=False)
    with pytest.raises(SandboxError, match="the command line and its environment have 70"):
        check_words(command, {})


@pytest.mark.parametrize("name", ["", "A=B", "="])
def test_what_is_no_name_of_a_variable(name: str) -> None:
    with pytest.raises(SandboxError, match=re.escape(f"{name!r} is no name")):
        check_words(("true",), {name: "x"})


def test_a_nul() -> None:
    with pytest.raises(SandboxError, match=r"NUL character in 'a\\x00'"):
        check_words(("a\0",), {})
