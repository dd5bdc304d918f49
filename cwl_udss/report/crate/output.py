# SPDX-License-Identifier: Apache-2.0
"""Where the crate of a run is to be, and what can be wrong with that."""

from __future__ import annotations

from pathlib import Path

from cwl_udss.errors import SettingsError, UdssError
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.report.crate.profile import METADATA, PROFILES
from cwl_udss.report.run import Run

_OURS = b"cwl-udss"


class UnwrittenCrate(UdssError):
    """A crate could not be written; what it is of is not the worse for it."""


def check_crate(directory: Path) -> None:
    """Raise SettingsError if there is something else than a directory, or the crate of somebody
    else."""
    if directory.exists() and not directory.is_dir():
        raise SettingsError(
            f"{directory} is no directory, and no crate can be in it", "name a directory"
        )
    try:
        if _OURS not in (directory / METADATA).read_bytes():
            raise SettingsError(
                f"{directory} is another crate, and is not overwritten", "name another directory"
            )
    except OSError:
        return  # there is none; or as write_crate() is going to say


def write_crate(run: Run, directory: Path, profile: str) -> None:
    """Write it. Raises UnwrittenCrate."""
    # What makes it takes a while to be imported, and most runs have none.
    from cwl_udss.report.crate.crate import make_crate  # noqa: PLC0415
    from cwl_udss.report.crate.writing import write_files  # noqa: PLC0415

    if run.begin.document is None:
        raise UnwrittenCrate(
            f"the crate {directory} cannot be written: what was to be run is not known",
            "the run ended before its documents were read, or is of another version",
        )
    try:
        crate = make_crate(run, run.begin.document, PROFILES[profile], directory)
        write_files(crate, directory)
    except OSError as error:
        raise UnwrittenCrate(
            f"the crate {directory} cannot be written: {system_words(error)}",
            "name another directory",
        ) from error
