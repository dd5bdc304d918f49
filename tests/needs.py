# SPDX-License-Identifier: Apache-2.0
"""What tests need of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

# In memory; on a real cluster somewhere else, which its nodes see.
SCRATCH = Path(os.environ.get("CWL_UDSS_TESTS_SCRATCH", "/dev/shm"))


def need(reason: str) -> NoReturn:
    """Skip a test for a missing package, or fail it in CI, where nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
