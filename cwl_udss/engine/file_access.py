# SPDX-License-Identifier: Apache-2.0
"""What cwltool names a step's inputs by, and what it reads a step's outputs through."""

from __future__ import annotations

import os
from collections.abc import MutableSequence
from typing import Any

from cwltool.errors import WorkflowException
from cwltool.pathmapper import PathMapper
from cwltool.stdfsaccess import StdFsAccess
from schema_salad.ref_resolver import uri_file_path

from cwl_udss.outputs import View


class NumberingPathMapper(PathMapper):
    """Gives a step's inputs the same paths each time, by numbers; cwltool's are random.

    So a step that is run again has the same command line, and may be found in the cache.
    """

    def setup(self, referenced_files: MutableSequence[Any], basedir: str) -> None:
        """Map all files to their targets (cwltool's hook)."""
        for number, file in enumerate(referenced_files):
            directory = self.stagedir
            if self.separateDirs:
                directory = os.path.join(directory, f"stg{number}")
            self.visit(file, directory, basedir, copy=bool(file.get("writable")), staged=True)

    def visit(
        self, obj: Any, stagedir: str, basedir: str, copy: bool = False, staged: bool = False
    ) -> None:
        """Map a file or directory (cwltool's hook); of files it has checked that they are there."""
        if obj["class"] == "Directory" and obj["location"].startswith("file://"):
            path = uri_file_path(obj["location"])
            if not os.path.isdir(path):
                kind = "is not a directory" if os.path.exists(path) else "not found"
                raise WorkflowException(f"Input directory {path} {kind}.")
        super().visit(obj, stagedir, basedir, copy, staged)


class CollectingAccess(StdFsAccess):
    """What cwltool reads outputs through: shows the output directory and the inputs, no more.

    `glob` patterns and `cwl.output.json` may name any path.
    """

    def __init__(self, view: View, basedir: str) -> None:
        super().__init__(basedir)
        self._view = view

    def _abs(self, p: str) -> str:
        path = super()._abs(p)
        if path.startswith("/") and not self._view.contains(path):
            raise WorkflowException(
                f"{path} is not in the output directory, nor is it an input: it is no output"
            )
        return path

    def glob(self, pattern: str) -> list[str]:
        """Return what is there; cwltool warns of an OSError in one line, and finds nothing."""
        try:
            return super().glob(pattern)
        except WorkflowException as error:
            raise PermissionError(str(error)) from error
