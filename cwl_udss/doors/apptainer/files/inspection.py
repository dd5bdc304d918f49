# SPDX-License-Identifier: Apache-2.0
"""`apptainer inspect`: what an image file says of itself, as Apptainer prints it (apptainer's
cmd/internal/cli/inspect.go, and pkg/inspect/metadata.go).
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cwl_udss.doors.apptainer.command_line.parser import Given
from cwl_udss.errors import UdssError
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.sif.layout import ObjectKind
from cwl_udss.images.formats.sif.reader import is_sif, read_sif
from cwl_udss.images.formats.squashfs.lookup import list_names, read_file
from cwl_udss.images.in_place.found import found_image
from cwl_udss.images.in_place.own_words import is_inside, read_inside
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.store.image import StoredImage

_METADATA = "inspect-metadata.json"  # of the parts of a SIF file
_DIRECTORY = ".singularity.d"
_FILES = {
    "labels": "labels.json",
    "runscript": "runscript",
    "test": "test",
    "helpfile": "runscript.help",
    "deffile": "Singularity",
    "startscript": "startscript",
}
_ENVIRONMENT = re.compile(r"env/(10-docker.*|9.*-environment)\.sh")
# As Apptainer's own come in JSON, and otherwise.
_ORDER = ("environment", "labels", "runscript", "test", "helpfile", "deffile", "startscript")
_PRINTED = ("deffile", "runscript", "startscript", "test", "helpfile")


def inspect(given: Given) -> int:
    """Be `apptainer inspect IMAGE`. Raises UdssError."""
    wanted = {name for name in _ORDER if given.flag(name)}
    if given.flag("all"):
        wanted = set(_ORDER)
    elif not wanted and not given.flag("list-apps"):
        wanted = {"labels"}
    found = attributes(Path(given.words[0]))
    chosen = {name: found[name] for name in _ORDER if name in wanted and found.get(name)}
    if given.flag("json") or given.flag("all"):
        document = {"data": {"attributes": chosen}, "type": "container"}
        print(json.dumps(document, indent="\t", ensure_ascii=False))
    else:
        print("".join(f"{line}\n" for line in _lines(chosen)), end="")
    return 0


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield from (found[name] for name in _PRINTED if name in found)
    for name, text in sorted(found.get("environment", {}).items()):
        yield f"=== {name} ===\n{text}\n"
    for name, text in sorted(found.get("labels", {}).items()):
        yield f"{name}: {text}"


def attributes(path: Path) -> Mapping[str, Any]:
    """Return all that an image file or directory says of itself. Raises UdssError."""
    if not os.path.lexists(path):
        raise UdssError(
            f"Failed to open image {path}: failed to retrieve path for {path}: lstat {path}: no "
            "such file or directory"
        )
    if is_sif(path):
        sif = read_sif(path, str(path))
        kept = [sif.read(part) for part in sif.of_kind(ObjectKind.JSON) if part.name == _METADATA]
        if kept:
            return _kept_attributes(kept[0], path)
        definitions = [sif.read(part) for part in sif.of_kind(ObjectKind.DEFINITION)]
        given = {"deffile": _text(definitions[0])} if definitions else {}
        return {**_of_scripts(path), **given}
    return _of_scripts(path)


def _kept_attributes(document: bytes, path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(document)["data"]["attributes"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UdssError(f"Unable to read {_METADATA} SIF descriptor of {path}") from error
    return found if isinstance(found, dict) else {}


def _of_scripts(path: Path) -> Mapping[str, Any]:
    image = found_image(path, str(path), this_platform())
    if image is None:
        raise UdssError(f"Failed to open image {path}: image format not recognized")
    try:
        files = dict(_files(image))
    except OSError as error:
        raise UdssError(f"Failed to open image {path}: {system_words(error)}") from error
    found: dict[str, Any] = {
        name: _text(files[file]) for name, file in _FILES.items() if file in files
    }
    found["environment"] = {
        f"/{_DIRECTORY}/{name}": _text(content)
        for name, content in files.items()
        if _ENVIRONMENT.fullmatch(name)
    }
    try:
        labels = json.loads(found.get("labels") or "{}")
    except (ValueError, RecursionError):
        labels = {}
    return {**found, "labels": labels if isinstance(labels, dict) else {}}


def _files(image: StoredImage) -> Iterator[tuple[str, bytes]]:
    """What is in files of an image's own directory, by their names there."""
    for name in (*_FILES.values(), *(f"env/{name}" for name in _environment_names(image))):
        content = _read(image, f"{_DIRECTORY}/{name}")
        if content is not None:
            yield name, content


def _environment_names(image: StoredImage) -> list[str]:
    directory = f"{_DIRECTORY}/env"
    if image.format is ImageFormat.SQUASHFS:
        return sorted(list_names(image.path, directory, image.offset))
    has_any = is_inside(image.path, directory, stat.S_ISDIR)
    return sorted(os.listdir(image.path / directory)) if has_any else []


def _read(image: StoredImage, name: str) -> bytes | None:
    if image.format is ImageFormat.SQUASHFS:
        return read_file(image.path, name, image.offset)
    return read_inside(image.path, name)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace").rstrip("\n")
