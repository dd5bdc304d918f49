# SPDX-License-Identifier: Apache-2.0
"""What a SIF file says of how its programs are to be run, as a configuration of OCI.

`apptainer pull docker://…` keeps that of the image in a part of its own. What a definition file has
set (%environment, %post) is in shell scripts of the root filesystem only.
"""

from __future__ import annotations

import json
import re
from typing import Any

from cwl_udss.errors import InvalidImage
from cwl_udss.images.formats.sif.layout import ObjectKind
from cwl_udss.images.formats.sif.reader import Sif
from cwl_udss.images.manifests.manifest import OWN_WORDS

_CONFIG_NAME = "oci-config.json"
# The file that `pull` makes up has none.
_SECTION = re.compile(rb"^\s*%\w", re.MULTILINE)


def sif_configuration(sif: Sif) -> bytes:
    """Return the configuration of a SIF file's image, a document as registries have them. Raises
    ImageError."""
    process = _docker_configuration(sif)
    has_own_words = process is None or any(
        _SECTION.search(sif.read(found)) for found in sif.of_kind(ObjectKind.DEFINITION)
    )
    document = {
        "os": "linux",
        "architecture": sif.root_architecture,
        "config": process or {},
        "rootfs": {"type": "layers", "diff_ids": []},
        OWN_WORDS: has_own_words,
    }
    return json.dumps(document).encode()


def _docker_configuration(sif: Sif) -> dict[str, Any] | None:
    for found in sif.of_kind(ObjectKind.JSON):
        if found.name == _CONFIG_NAME:
            try:
                process = json.loads(sif.read(found))
            except (ValueError, RecursionError) as error:
                raise InvalidImage(f"{sif.name}: {_CONFIG_NAME} is no JSON") from error
            if isinstance(process, dict):
                return process
    return None
