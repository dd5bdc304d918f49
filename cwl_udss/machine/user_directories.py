# SPDX-License-Identifier: Apache-2.0
"""Where a user's own files are, by the XDG Base Directory Specification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cwl_udss.errors import SettingsError


def home_directory() -> Path:
    """Return the user's home directory. Raises SettingsError if there is none."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise SettingsError(
            "nothing here knows your home directory, as your user has no name here", "set HOME"
        ) from error


def user_configuration(environment: Mapping[str, str], home: Path) -> Path:
    """Return the directory of what programs are told, ours and others."""
    return _chosen("XDG_CONFIG_HOME", environment) or home / ".config"


def user_cache(environment: Mapping[str, str], home: Path) -> Path:
    """Return the directory of what is this user's, and can be made again by us."""
    return (_chosen("XDG_CACHE_HOME", environment) or home / ".cache") / "cwl-udss"


def user_state(environment: Mapping[str, str], home: Path) -> Path:
    """Return the directory of what has happened, which a person may want to look up."""
    return (_chosen("XDG_STATE_HOME", environment) or home / ".local" / "state") / "cwl-udss"


def user_runtime(environment: Mapping[str, str]) -> Path | None:
    """Return the directory of what ends with the login, if there is one."""
    return _chosen("XDG_RUNTIME_DIR", environment)


def _chosen(variable: str, environment: Mapping[str, str]) -> Path | None:
    # "If an implementation encounters a relative path […] it should consider the path invalid and
    # ignore it."
    path = Path(environment.get(variable, ""))
    return path if path.is_absolute() else None
