# SPDX-License-Identifier: Apache-2.0
"""What is in a directory, for `listing`: by whatever links, but never round in a circle."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote

from cwltool.errors import WorkflowException
from cwltool.stdfsaccess import StdFsAccess
from cwltool.utils import visit_class
from schema_salad.ref_resolver import uri_file_path


def get_listing(fs_access: StdFsAccess, value: Any, recursive: bool = True) -> None:
    """Give the Directory objects in a value a listing if they have none (cwltool's get_listing).

    A link to a directory that holds it is listed as a Directory without a listing of its own.
    cwltool's goes on until the kernel does not, at 40 links; at two such links in one directory
    never.
    """
    if isinstance(value, dict) and value.get("class") == "Directory":
        _list(fs_access, value, recursive, ())
        return
    found: list[Any] = []
    visit_class(value, ("Directory",), found.append)
    for directory in found:
        _list(fs_access, directory, recursive, ())


def _list(fs_access: StdFsAccess, directory: Any, recursive: bool, above: tuple[str, ...]) -> None:
    if "listing" in directory:
        return
    listing: list[dict[str, Any]] = []
    above = (*above, _without_links(directory["location"]))
    for location in fs_access.listdir(directory["location"]):
        if not _is_there(fs_access, location):
            continue
        entry: dict[str, Any] = {
            "class": "File",
            "location": location,
            "basename": os.path.basename(unquote(location)),
        }
        if fs_access.isdir(location):
            entry["class"] = "Directory"
            if recursive and _without_links(location) not in above:
                _list(fs_access, entry, recursive, above)
        listing.append(entry)
    directory["listing"] = listing


def _is_there(fs_access: StdFsAccess, location: str) -> bool:
    """Say whether it is not a link that leads nowhere, or out of what a step was given."""
    try:
        return fs_access.exists(location)
    except WorkflowException:
        return False


def _without_links(location: str) -> str:
    path = uri_file_path(location) if location.startswith("file://") else location
    return os.path.realpath(path)
