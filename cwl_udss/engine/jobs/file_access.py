# SPDX-License-Identifier: Apache-2.0
"""What cwltool reads a step's outputs through, and names them by."""

from __future__ import annotations

import glob
import os
from collections.abc import MutableMapping
from typing import Any

from cwltool.errors import WorkflowException
from cwltool.stdfsaccess import StdFsAccess
from schema_salad.ref_resolver import file_uri, uri_file_path

from cwl_udss.surroundings.outputs import View


def name_by_uri(entry: MutableMapping[str, Any]) -> None:
    """Have a File or Directory object of this machine named by a URI, not by a bare path.

    cwltool has both for outputs that were inputs, and takes them for different files.
    """
    location = str(entry.get("location", ""))
    if location.startswith("/"):
        entry["location"] = file_uri(location)


def name_whole(outdir: str, name: str, entry: MutableMapping[str, Any]) -> None:
    """Have an output directory that is an output as a whole called as the step knew it.

    cwltool calls it as the host does, by another name in each run, under which no step that is
    given it would be found in the cache.
    """
    location = str(entry.get("location", ""))
    if location.startswith("file:") and os.path.normpath(uri_file_path(location)) == outdir:
        entry["basename"] = name


class CollectingAccess(StdFsAccess):
    """What cwltool reads outputs through: shows the output directory and the inputs, no more.

    `glob` patterns and `cwl.output.json` may name any path.
    """

    def __init__(self, view: View, outdir: str, basedir: str) -> None:
        super().__init__(basedir)
        self._view = view
        self._outdir = outdir

    def _abs(self, p: str) -> str:
        path = super()._abs(p)
        if path.startswith("/") and not self._view.contains(path):
            raise WorkflowException(
                f"{path} is not in the output directory, nor is it an input: it is no output"
            )
        return path

    def glob(self, pattern: str) -> list[str]:
        """Return what is there; cwltool warns of an OSError in one line, and finds nothing.

        It puts the output directory's path before patterns as it is: no part of that is one.
        """
        try:
            path = self._abs(pattern)
            literal = self._outdir if path.startswith(self._outdir) else ""
            escaped = glob.escape(literal) + path[len(literal) :]
            return [file_uri(self._abs(found)) for found in glob.glob(escaped)]
        except WorkflowException as error:
            raise PermissionError(str(error)) from error
