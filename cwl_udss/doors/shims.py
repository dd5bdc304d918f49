# SPDX-License-Identifier: Apache-2.0
"""Installs doors: small scripts, named as other programs, that start this installation's Python.

They must be quick, as some callers start several for each task: so Python reads no site module and
none of its `.pth` files, and looks for no garbage while it imports (a twentieth of the time). And
they must work where a caller gives them nothing: no variable, no home, another directory.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shlex
import site
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from cwl_udss.errors import UdssError

NAMES = ("podman", "docker", "apptainer", "singularity", "udocker", "pyxis-importer")
_MARK = "# Made by `cwl-udss shim install`."
# Linux before 5.1 cuts off what is more of the first line, which has no way to write a blank.
_LONGEST_LINE = 127
# What is a comment for the shell is a string for Python, as pip and zipapp do it. To start the
# shell, too, takes a millisecond.
_BY_SHELL = """\
#!/bin/sh
'''exec' {python} -IS "$0" "$@"
' '''
"""
_SCRIPT = """\
{beginning}{mark}
import gc
import sys
gc.disable()
sys.path += {paths}
from cwl_udss.doors.door import main
main({name!r}, {kept!r})
"""
_KEEP = """\
import sys
sys.path += {paths}
from cwl_udss.doors.door import keep_modules
keep_modules({kept!r})
"""
_KEPT = ".cwl-udss-modules"


def install(directory: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the doors of these names, or all, into a directory. Returns what was written. Raises
    UdssError, with nothing changed, if something else is there."""
    wanted = [directory / name for name in _known(names)]
    for path in wanted:
        if os.path.lexists(path) and not _is_ours(path):
            raise UdssError(
                f"{path} is there, and was not made by cwl-udss", "name another directory"
            )
    directory.mkdir(parents=True, exist_ok=True)
    for path in wanted:
        made = path.with_name(f".{path.name}.{os.getpid()}")
        made.write_text(script(path), encoding="utf-8", errors="surrogateescape")
        made.chmod(0o755)
        made.replace(path)
    _keep_modules(directory)
    return wanted


def remove(directory: Path, names: Sequence[str] = ()) -> list[Path]:
    """Remove the doors of these names, or all, from a directory. Returns what was removed. Raises
    UdssError for a name that is something else."""
    removed = []
    for name in _known(names):
        path = directory / name
        if not os.path.lexists(path):
            continue
        if _is_ours(path):
            path.unlink()
            removed.append(path)
        elif names:
            raise UdssError(f"{path} was not made by cwl-udss", "remove it yourself")
    if not any(_is_ours(directory / name) for name in NAMES):
        (directory / _KEPT).unlink(missing_ok=True)
    return removed


def script(path: Path) -> str:
    """Return the script of a door that is to be there."""
    return _SCRIPT.format(
        beginning=_beginning(sys.executable),
        mark=_MARK,
        paths=_import_paths(),
        name=path.name,
        kept=os.path.abspath(path.with_name(_KEPT)),
    )


def _beginning(python: str) -> str:
    """What has a script executed by a Python."""
    line = f"#!{python} -IS\n"
    if len(os.fsencode(line)) <= _LONGEST_LINE and not python.split()[1:]:
        return line
    return _BY_SHELL.format(python=shlex.quote(python))


def _keep_modules(directory: Path) -> None:
    """Have doors start in less time; without that they do it all the same."""
    kept = os.path.abspath(directory / _KEPT)
    code = _KEEP.format(paths=_import_paths(), kept=kept)
    subprocess.run([sys.executable, "-IS", "-c", code], stdin=subprocess.DEVNULL, check=False)


def path_line(directory: Path) -> str:
    """Return what a person types so that the doors are found first."""
    return f'export PATH={shlex.quote(str(directory.absolute()))}:"$PATH"'


def _known(names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in NAMES:
            raise UdssError(f"there is no door {name!r}", f"there are {', '.join(NAMES)}")
    return list(dict.fromkeys(names or NAMES))


def _is_ours(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return not path.is_symlink() and _MARK in stream.read(4096)
    except OSError:  # a directory, a device, or nobody may read it
        return False


def _import_paths() -> list[str]:
    """Where Python finds this package and what it uses, without the site module."""
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    places = [
        _parent_of("cwl_udss"),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
        *user,
        *site.getsitepackages(),
    ]
    return list(dict.fromkeys(place for place in places if os.path.isdir(place)))


def _parent_of(package: str) -> str:
    """Where a package is, that may be installed as a link to its source."""
    spec = importlib.util.find_spec(package)
    assert isinstance(spec, importlib.machinery.ModuleSpec)
    assert spec.origin is not None
    return os.path.dirname(os.path.dirname(os.path.realpath(spec.origin)))
