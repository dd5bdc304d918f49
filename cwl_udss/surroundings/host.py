# SPDX-License-Identifier: Apache-2.0
"""What a tool of this machine, without an image, may read of it besides its inputs.

That is said by the machine, by who starts a run and where they do so, and never by a workflow: its
PATH may name any directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# Of the Filesystem Hierarchy Standard; then where Nix, Guix and CernVM-FS have software.
_SYSTEM = (
    *("/bin", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/sbin", "/usr"),
    *("/nix/store", "/run/current-system", "/gnu/store", "/cvmfs"),
)
# In which there are programs, then what else there are directories of software in.
_PROGRAMS = "PATH"
_OTHERS = (
    *("CONDA_PREFIX", "JAVA_HOME", "LD_LIBRARY_PATH", "LMOD_DIR", "MODULEPATH", "MODULESHOME"),
    *("PERL5LIB", "PYTHONPATH", "R_LIBS", "VIRTUAL_ENV"),
)
# Of a place where a user's own programs are beside other things of theirs.
_PARTS = ("bin", "lib", "lib32", "lib64", "libexec", "sbin")


def host_directories(
    environment: Mapping[str, str], home: Path, further: Iterable[Path]
) -> tuple[str, ...]:
    """Return directories, each by its path as it is called, and where it is. `further` are those
    that somebody has named; all others must not hold the home directory."""
    own = str(home)
    # Of a home directory only what is named, and not what somebody keeps there.
    private = {os.path.realpath(own), os.path.realpath(home / ".local")}
    named = [*_on_path(environment.get(_PROGRAMS, ""), private)]
    for variable in _OTHERS:
        named += environment.get(variable, "").split(":")
    allowed = [
        path
        for path in (*_SYSTEM, *named)
        if path.startswith("/") and not any(_is_above(path, place) for place in private)
    ]
    found = [*allowed, *map(str, further)]
    there = [path for path in found if os.path.exists(path)]
    return tuple(dict.fromkeys(name for path in there for name in (path, os.path.realpath(path))))


def _on_path(text: str, private: Iterable[str]) -> Iterator[str]:
    """The directories of a search path; each with what was installed with it."""
    for directory in text.split(":"):
        if not directory.startswith("/"):
            continue
        yield directory
        prefix, name = os.path.split(directory.rstrip("/"))
        if name not in ("bin", "sbin"):
            continue
        if any(_is_above(prefix, place) for place in private):
            yield from (os.path.join(prefix, part) for part in _PARTS)
        else:
            yield prefix


def _is_above(path: str, place: str) -> bool:
    """Whether a directory is one, or has it in it."""
    return os.path.commonpath((os.path.realpath(path), place)) == os.path.realpath(path)
