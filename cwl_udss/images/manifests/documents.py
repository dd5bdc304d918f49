# SPDX-License-Identifier: Apache-2.0
"""Fields of JSON documents that others wrote; what is not as it must be is an InvalidImage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from cwl_udss.errors import InvalidImage

_USELESS = "the image cannot be used"


def parse_object(document: bytes | str, what: str) -> Mapping[str, Any]:
    """Parse a document that is an object."""
    try:
        content = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise InvalidImage(f"the {what} is not JSON", _USELESS) from error
    return as_object(content, what)


def as_object(content: Any, what: str) -> Mapping[str, Any]:
    """Return what must be an object."""
    if not isinstance(content, dict):
        raise InvalidImage(f"the {what} is malformed", _USELESS)
    return content


def array(content: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list; an absent one and null are empty."""
    found = content.get(name) or []
    if not isinstance(found, list):
        raise InvalidImage(f"{name} is no list", _USELESS)
    return found


def text(content: Mapping[str, Any], name: str) -> str:
    """Return a text; an absent one and null are empty."""
    found = content.get(name) or ""
    if not isinstance(found, str):
        raise InvalidImage(f"{name} is no text", _USELESS)
    return found


def texts(content: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return a list of texts; an absent one and null are empty."""
    found = array(content, name)
    if not all(isinstance(item, str) for item in found):
        raise InvalidImage(f"{name} is no list of texts", _USELESS)
    return tuple(cast("list[str]", found))
