# SPDX-License-Identifier: Apache-2.0
"""Where a user's own files are, by the XDG Base Directory Specification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def user_configuration(environment: Mapping[str, str], home: Path) -> Path:
    """Return the directory of what programs are told, ours and others."""
    return _chosen("XDG_CONFIG_HOME", environment) or home / ".config"


def user_cache(environment: Mapping[str, str], home: Path) -> Path:
    """Return the directory of what is this user's, and can be made again by us."""
    return (_chosen("XDG_CACHE_HOME", environment) or home / ".cache") / "cwl-udss"


def user_runtime(environment: Mapping[str, str]) -> Path | None:
    """Return the directory of what ends with the login, if there is one."""
    return _chosen("XDG_RUNTIME_DIR", environment)


def _chosen(variable: str, environment: Mapping[str, str]) -> Path | None:
    # "If an implementation encounters a relative path […] it should consider the path invalid and
    # ignore it."
    path = Path(environment.get(variable, ""))
    return path if path.is_absolute() else None
