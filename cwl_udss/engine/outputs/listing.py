# SPDX-License-Identifier: Apache-2.0
"""What is in a directory, for `listing`: by whatever links, but never round in a circle."""

from __future__ import annotations

import logging
import os
from typing import Any
from urllib.parse import unquote

from cwltool.errors import WorkflowException
from cwltool.stdfsaccess import StdFsAccess
from cwltool.utils import visit_class
from schema_salad.ref_resolver import file_uri, uri_file_path

from cwl_udss.filesystems.system_words import system_words

_logger = logging.getLogger(__name__)

# What goes through objects of CWL calls itself, as does json; Python lets it some 1,000 deep.
_DEEPEST = 100


def get_listing(fs_access: StdFsAccess, value: Any, recursive: bool = True) -> None:
    """Give the Directory objects in a value a listing if they have none (cwltool's get_listing).

    A link to a directory that holds it is listed as a Directory without a listing of its own, as is
    one that is very deep, or that may not be read. cwltool's goes on until the kernel does not, at
    40 links; at two such links in one directory never. What has a name that is no text is left out.
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
    try:
        locations = _entries(fs_access, directory["location"])
    except PermissionError as error:
        _logger.warning("%s has no listing: %s", directory["location"], system_words(error))
        return
    listing: list[dict[str, Any]] = []
    above = (*above, _path_without_links(directory["location"]))
    for location in locations:
        if not _is_there(fs_access, location):
            continue
        entry: dict[str, Any] = {
            "class": "File",
            "location": location,
            "basename": os.path.basename(unquote(location)),
        }
        if fs_access.isdir(location):
            entry["class"] = "Directory"
            if recursive and len(above) < _DEEPEST and _path_without_links(location) not in above:
                _list(fs_access, entry, recursive, above)
        listing.append(entry)
    directory["listing"] = listing


def _is_there(fs_access: StdFsAccess, location: str) -> bool:
    """Say whether it is not a link that leads nowhere, or out of what a step was given."""
    try:
        return fs_access.exists(location)
    except WorkflowException:
        return False


def _entries(fs_access: StdFsAccess, directory: str) -> list[str]:
    """Return the locations of all in a directory that have one."""
    try:
        return fs_access.listdir(directory)
    except UnicodeEncodeError:  # raised for the first such name, after the directory was read
        path = _path(directory)
        names = os.listdir(path)
    listed = [name for name in names if _is_text(name)]
    for name in set(names).difference(listed):
        _logger.warning(
            "%r in %s is in no listing: CWL can only tell of names in UTF-8",
            os.fsencode(name),
            path,
        )
    return [file_uri(os.path.join(path, name)) for name in listed]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _path(location: str) -> str:
    return uri_file_path(location) if location.startswith("file://") else location


def _path_without_links(location: str) -> str:
    return os.path.realpath(_path(location))
