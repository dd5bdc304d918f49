# SPDX-License-Identifier: Apache-2.0
"""Writing the page of a run to where a person wants it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cwl_udss.errors import SettingsError, UdssError
from cwl_udss.report.run import Run

_BEGINNING = b"<!DOCTYPE html>"


class UnwrittenReport(UdssError):
    """A report could not be written; what it is of is not the worse for it."""


def check_page(path: Path) -> None:
    """Raise SettingsError if there is something else than a page: who has forgotten FILE has named
    the workflow."""
    try:
        if path.is_file():
            with path.open("rb") as existing:
                if existing.read(len(_BEGINNING)) not in (b"", _BEGINNING):
                    raise SettingsError(
                        f"{path} is no report, and is not overwritten", "name another file"
                    )
    except OSError:
        return  # as write_page() is going to say


def write_page(run: Run, path: Path) -> None:
    """Write it; who reads meanwhile finds the old one, or the new. Raises UnwrittenReport."""
    # What makes it takes a while to be imported, and most runs have none.
    from cwl_udss.report.page.page import make_page  # noqa: PLC0415

    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        content = make_page(run, path.absolute().parent)
        if path.exists() and not path.is_file():  # a pipe, or a device
            path.write_bytes(content)
            return
        made.write_bytes(content)
        made.replace(path)
    except OSError as error:
        raise UnwrittenReport(
            f"the report {path} cannot be written: {error.strerror}", "name another file"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            made.unlink()
