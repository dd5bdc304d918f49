# SPDX-License-Identifier: Apache-2.0
"""Other machines than this one, made on it for a command, without changing anything of it."""

from __future__ import annotations

import functools
import subprocess

import pytest

# Limits of namespaces are each namespace's own: user_namespaces(7).
_NONE_FROM_HERE = """
echo 0 >/proc/sys/user/max_user_namespaces &&
exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all "$@"
"""


@functools.cache
def without_namespaces() -> tuple[str, ...]:
    """The beginning of a command that is run by the same user where there are no namespaces."""
    unshare = ("unshare", "--user", "--map-current-user", "--keep-caps")
    command = (*unshare, "sh", "-c", _NONE_FROM_HERE, "sh")
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("such a machine cannot be made here")
    return command
