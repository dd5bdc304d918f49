# SPDX-License-Identifier: Apache-2.0
"""Who has signed what in a SIF file, as it says itself: nothing of it is checked here
(https://github.com/apptainer/sif, pkg/integrity)."""

from __future__ import annotations

import json
import struct
from typing import Any

from cwl_udss.images.formats.sif.layout import ObjectKind
from cwl_udss.images.formats.sif.reader import Sif, SifObject

_SIGNER = struct.Struct("<i20s")  # the hash, and for OpenPGP the key's fingerprint
_GROUP = 0xF0000000  # in a link or a group: what else is in it is a number
_UNKNOWN = "an unknown key"


def signatures(sif: Sif) -> list[str]:
    """Return a sentence for each signature in a SIF file. Raises ImageError if one cannot be
    read."""
    return [
        f"{_signed(sif.read(found), found, sif)}, not checked"
        for found in sif.of_kind(ObjectKind.SIGNATURE)
    ]


def _signed(content: bytes, found: SifObject, sif: Sif) -> str:
    return f"{_covered(found.link, sif)} signed by {_signer(content, found)}"


def _signer(content: bytes, found: SifObject) -> str:
    _, fingerprint = _SIGNER.unpack_from(found.extra)
    if any(fingerprint):
        return str(fingerprint.hex()).upper()
    keys = [str(each.get("keyid") or _UNKNOWN) for each in _envelope_signatures(content)]
    return ", ".join(keys) or _UNKNOWN


def _envelope_signatures(content: bytes) -> list[dict[str, Any]]:
    """Those of a DSSE envelope (https://github.com/secure-systems-lab/dsse, envelope.md)."""
    try:
        envelope = json.loads(content)
    except (ValueError, RecursionError):
        return []
    listed = envelope.get("signatures") if isinstance(envelope, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _covered(link: int, sif: Sif) -> str:
    """What a signature is for: a group of parts, or one of them."""
    if link & _GROUP == _GROUP:
        return f"group {link & ~_GROUP}"
    names = [found.name for found in sif.objects if found.identifier == link]
    return f"part {link}" + (f" ({names[0]})" if names and names[0] else "")
