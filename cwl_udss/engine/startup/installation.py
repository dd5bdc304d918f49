# SPDX-License-Identifier: Apache-2.0
"""Whose `cwltool` command is installed.

cwltool has no plug-ins, so our `cwltool` command takes the place of the one that its distribution
installs. Installers write commands in the order they like (uv), and a later upgrade of cwltool puts
the original back; no installer asks or warns.
"""

from __future__ import annotations

import enum
import shutil
import sys
import sysconfig
from pathlib import Path

from cwl_udss.errors import UdssError

_SCRIPT = """#!{python}
# -*- coding: utf-8 -*-
import sys
from cwl_udss.cli import cwltool
if __name__ == '__main__':
    sys.exit(cwltool())
"""


class Command(enum.Enum):
    """What `cwltool` is."""

    OURS = "ours"
    ORIGINAL = "original"
    MISSING = "missing"


def installed_command() -> Command:
    """Return whose `cwltool` command this installation has."""
    try:
        text = _path().read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return Command.MISSING
    return Command.OURS if "cwl_udss" in text else Command.ORIGINAL


def other_command() -> Path | None:
    """Return the `cwltool` that PATH finds, if it is not this installation's."""
    found = shutil.which("cwltool")
    if found is None or Path(found).resolve() == _path().resolve():
        return None
    return Path(found)


def write_cwltool_command() -> Path:
    """Write our `cwltool` command and return its path. Raises UdssError if that is not allowed."""
    path = _path()
    temporary = path.with_name(".cwltool.cwl-udss")
    try:
        temporary.write_text(_SCRIPT.format(python=sys.executable), encoding="utf-8")
        temporary.chmod(0o755)
        temporary.replace(path)
    except OSError as error:
        raise UdssError(f"{path} cannot be written", str(error)) from error
    return path


def _path() -> Path:
    return Path(sysconfig.get_path("scripts")) / "cwltool"
