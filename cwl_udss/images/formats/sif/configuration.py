# SPDX-License-Identifier: Apache-2.0
"""What a SIF file says of how its programs are to be run, as a configuration of OCI.

`apptainer pull docker://…` keeps that of the image in a part of its own. What a definition file has
set (%environment, %post) is in shell scripts of the root filesystem only.
"""

from __future__ import annotations

import json
from typing import Any

from cwl_udss.errors import InvalidImage
from cwl_udss.images.formats.sif.layout import ObjectKind
from cwl_udss.images.formats.sif.reader import Sif
from cwl_udss.images.manifests.manifest import OWN_WORDS

CONFIG_NAME = "oci-config.json"
# Nothing else is in what `pull` makes up.
_HEADERS = (b"bootstrap", b"from", b"registry", b"namespace")
_PULLED_FROM = (b"docker", b"oci")


def sif_configuration(sif: Sif) -> bytes:
    """Return the configuration of a SIF file's image, a document as registries have them. Raises
    ImageError."""
    process = _docker_configuration(sif)
    has_own_words = process is None or not all(
        _is_pulled(sif.read(found)) for found in sif.of_kind(ObjectKind.DEFINITION)
    )
    document = {
        "os": "linux",
        "architecture": sif.architecture,
        "config": process or {},
        "rootfs": {"type": "layers", "diff_ids": []},
        OWN_WORDS: has_own_words,
    }
    return json.dumps(document).encode()


def _is_pulled(definition: bytes) -> bool:
    """Whether a definition sets nothing. One that begins with another SIF file has all that was
    ever set there, and of that only the scripts tell."""
    lines = [line.lower().split(b":", 1) for line in definition.splitlines() if line.strip()]
    headers = {line[0].strip(): line[-1].strip() for line in lines}
    return headers.keys() <= {*_HEADERS} and headers.get(b"bootstrap", b"").startswith(_PULLED_FROM)


def _docker_configuration(sif: Sif) -> dict[str, Any] | None:
    for found in sif.of_kind(ObjectKind.JSON):
        if found.name == CONFIG_NAME:
            try:
                process = json.loads(sif.read(found))
            except (ValueError, RecursionError) as error:
                raise InvalidImage(f"{sif.name}: {CONFIG_NAME} is no JSON") from error
            if isinstance(process, dict):
                return process
    return None
