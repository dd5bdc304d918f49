# SPDX-License-Identifier: Apache-2.0
"""What a door was given by who called it."""

from __future__ import annotations

import argparse
import os
from functools import partial

_SET_BY_PYTHON = "LC_CTYPE"

FORMATTER = partial(argparse.HelpFormatter, width=78)
"""Of usage. argparse makes one for each option, and each would ask how wide the terminal is."""


def given_environment() -> dict[str, str]:
    """Return the caller's environment, without what Python has set itself where the locale was C
    (PEP 538): a command is to have what its caller has."""
    environment = dict(os.environ)
    try:
        with open("/proc/self/environ", "rb") as stream:
            given = stream.read().split(b"\0")
    except OSError:  # /proc need not be there, nor be ours to read
        return environment
    if not any(entry.startswith(f"{_SET_BY_PYTHON}=".encode()) for entry in given):
        environment.pop(_SET_BY_PYTHON, None)
    return environment
