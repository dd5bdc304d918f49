# SPDX-License-Identifier: Apache-2.0
"""An array of files becomes a command line in time that grows with the number of files only."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import cwltool.builder
from ruamel.yaml.comments import CommentedMap


def bind_items_alone() -> None:
    """Have cwltool not copy an array with each of its items.

    Builder.bind_input (cwltool 3.1 to 3.3) copies what it knows of an array's binding for each
    item, and the array is part of that: 400 files took two minutes.
    """
    replaced = {**vars(copy), "deepcopy": copy_binding}
    cwltool.builder.__dict__["copy"] = SimpleNamespace(**replaced)


def copy_binding(value: Any) -> Any:
    """Copy a value as copy.deepcopy() does, but of a binding not what it binds: that is replaced
    in the copy."""
    if not isinstance(value, CommentedMap) or "datum" not in value:
        return copy.deepcopy(value)
    copied = CommentedMap()
    for name, part in value.items():
        copied[name] = part if name == "datum" else copy.deepcopy(part)
    return copied
