# SPDX-License-Identifier: Apache-2.0
"""File and Directory literals among the outputs of a tool.

Those that its `outputEval` or `cwl.output.json` returns have contents or a listing, and no location
yet. cwltool looks for one (revmap_file, check_valid_locations and compute_checksums in
cwltool.command_line_tool), though it takes such literals from an ExpressionTool. Those that it was
given in its output directory are files and directories there; cwltool takes them for inputs that
have a place of their own.
"""

from __future__ import annotations

import os
from typing import Any

import cwltool.command_line_tool
import cwltool.process
from cwltool.builder import Builder
from cwltool.stdfsaccess import StdFsAccess

from cwl_udss.files.links import is_within

_revmap_file = cwltool.command_line_tool.revmap_file
_check_valid_locations = cwltool.command_line_tool.check_valid_locations
_compute_checksums = cwltool.process.compute_checksums


def revmap_file(builder: Builder, outdir: str, entry: Any) -> Any:
    """Name a file by where the host has it, unless it is a literal."""
    if _is_literal(entry):
        return entry
    if "path" in entry and builder.pathmapper is not None:
        path = os.path.join(builder.outdir, entry["path"])
        given = builder.pathmapper.reversemap(path)
        if given is not None and given[0].startswith("_:") and is_within(path, builder.outdir):
            entry["path"] = os.path.join(outdir, os.path.relpath(path, builder.outdir))
    return _revmap_file(builder, outdir, entry)


def check_valid_locations(fs_access: StdFsAccess, entry: Any) -> None:
    """See whether a file or directory is there, unless it is a literal."""
    if not _is_literal(entry):
        _check_valid_locations(fs_access, entry)


def compute_checksums(fs_access: StdFsAccess, entry: Any) -> None:
    """Add the checksum and size of a file; those of a literal come when it has been written."""
    if not _is_literal(entry):
        _compute_checksums(fs_access, entry)


def _is_literal(entry: Any) -> bool:
    if not str(entry.get("location", "_:")).startswith("_:") or "path" in entry:
        return False
    return ("contents" if entry["class"] == "File" else "listing") in entry
