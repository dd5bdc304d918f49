# SPDX-License-Identifier: Apache-2.0
"""Images out of files and directories: what `docker save`, OCI tools, skopeo and podman write, and
root filesystems in a tar.

The formats: OCI image-spec (image-layout.md), moby's image/spec/v1.2.md, "Combined Image JSON +
Filesystem Changeset Format", and containers-transports(5), "dir:".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cwl_udss.errors import DamagedImage, InvalidImage, named
from cwl_udss.images.formats.sif.reader import is_sif
from cwl_udss.images.manifests.choice import (
    ChosenImage,
    Documents,
    choose_from_layout,
    choose_image,
)
from cwl_udss.images.manifests.manifest import (
    LARGEST_DOCUMENT,
    Descriptor,
    Platform,
    check_platform,
    is_digest,
    parse_config,
)
from cwl_udss.images.manifests.schema1 import signed_payload
from cwl_udss.images.sources.image_files import ImageFile, TarFile, UnpackedFile, open_tar
from cwl_udss.images.sources.image_signs import (
    DOCKER_LISTING,
    OCI_LISTING,
    check_kind,
    check_root,
    is_image,
    is_transport,
)
from cwl_udss.images.sources.several_images import choose_indexed, choose_listed
from cwl_udss.images.sources.sif_layers import sif_layers
from cwl_udss.images.sources.source import Source
from cwl_udss.machine.quantities import counted


def read_image_file(
    kind: str, path: Path, name: str, platform: Platform, work: Path, *, chosen: str = ""
) -> Source:
    """Return the image in a file: "load" for an archive, "import" for a root filesystem, or "any".

    `path` may be a directory with what would be in an archive. `work` is a directory for what has
    to be unpacked. `chosen` names one of several images. Raises ImageError if it is none of that
    kind.
    """
    if path.is_dir():
        return _image_in_directory(kind, UnpackedFile(name=name, path=path), platform, chosen)
    if is_sif(path):
        return sif_layers(path, name, platform)
    file = open_tar(path, name, work)
    if kind != "import" and (kind == "load" or is_image(file)):
        return archived_image(file, platform, chosen)
    check_root(file)
    return imported_image(file, platform)


def check_root_directory(path: Path) -> None:
    """Raise InvalidImage if a directory is something that no root filesystem is."""
    check_root(UnpackedFile(name=str(path), path=path))


def is_image_directory(path: Path) -> bool:
    """Say whether a directory is an image that some tool has written, and no root filesystem."""
    return is_image(UnpackedFile(name=str(path), path=path))


def archived_image(file: ImageFile, platform: Platform, chosen: str = "") -> Source:
    """Return the image in what `docker save` writes, in an OCI layout, or in skopeo's `dir:`.

    Raises InvalidImage if there is none, or several.
    """
    if is_transport(file):
        return _transport_image(file, platform)
    if file.size(DOCKER_LISTING) is not None:  # which new archives have beside the other
        return _docker_image(file, platform, chosen)
    if file.size(OCI_LISTING) is not None:
        return _oci_image(file, platform, chosen)
    check_kind(file)
    raise InvalidImage(
        f"{file.name} is no image: it has neither {DOCKER_LISTING} nor {OCI_LISTING}",
        "it must be what `docker save` writes; a root filesystem goes into dockerImport",
    )


def _image_in_directory(
    kind: str, directory: UnpackedFile, platform: Platform, chosen: str
) -> Source:
    if is_image(directory) and kind != "import":
        return archived_image(directory, platform, chosen)
    check_root(directory)
    raise InvalidImage(
        f"{directory.name} is a directory, and no image",
        "a root filesystem goes into dockerImageId, as a path with a / in it",
    )


def imported_image(file: TarFile, platform: Platform) -> Source:
    """Return an image that is nothing but a root filesystem, as `docker import` makes it."""
    layer = Descriptor(media_type="", digest=file.index.diff_id, size=file.path.stat().st_size)
    config = {
        "os": platform.os,
        "architecture": platform.architecture,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    }
    document = json.dumps(config).encode()
    return Source(
        name=file.name,
        digest=_digest(document),
        layers=(layer,),
        diff_ids=(layer.digest,),
        config_document=document,
        read=lambda _: file.read_all(),
        verb="load",
    )


def _docker_image(file: ImageFile, platform: Platform, chosen: str) -> Source:
    listing = _json(file, DOCKER_LISTING)
    if isinstance(listing, list):
        listing = choose_listed(listing, chosen, file.name)
    if not isinstance(listing, list) or len(listing) != 1:
        raise InvalidImage(
            f"{file.name} holds {len(listing) if isinstance(listing, list) else 'no'} images",
            "save one image into an archive",
        )
    entry = listing[0]
    try:
        config_path, layer_paths = str(entry["Config"]), [str(path) for path in entry["Layers"]]
    except (KeyError, TypeError) as error:
        raise InvalidImage(f"{file.name} has a {DOCKER_LISTING} that is none") from error
    document = _content(file, config_path)
    config = parse_config(document)
    check_platform(config, platform)
    if len(layer_paths) != len(config.diff_ids) or not all(map(is_digest, config.diff_ids)):
        raise InvalidImage(
            f"{file.name} has {counted(len(layer_paths), 'layer')}, not its configuration's",
            file.remedy,
        )
    layers = dict(zip(config.diff_ids, layer_paths, strict=True))
    return Source(
        name=file.name,
        digest=_digest(document),
        layers=tuple(
            Descriptor(media_type="", digest=digest, size=_size(file, layers[digest]))
            for digest in config.diff_ids
        ),
        diff_ids=config.diff_ids,
        config_document=document,
        read=lambda layer: file.read(layers[layer.digest]),
        verb="load",
        remedy=file.remedy,
    )


def _oci_image(file: ImageFile, platform: Platform, chosen: str) -> Source:
    index = _content(file, OCI_LISTING)
    documents = Documents(
        manifest=lambda digest: _checked_content(file, _blob_path(digest), digest),
        config=lambda config: _checked_content(file, _blob_path(config.digest), config.digest),
    )
    with named(file.name):
        if chosen:
            index = choose_indexed(index, chosen, file.name)
        image = choose_from_layout(index, documents, platform)
    return _chosen_image(file, image, _blob_path)


def _transport_image(file: ImageFile, platform: Platform) -> Source:
    """The manifest as a registry had it, and blobs by their bare digests. What a list names (after
    `skopeo copy --all`) is beside it."""
    document = signed_payload(_content(file, DOCKER_LISTING))
    documents = Documents(
        manifest=lambda digest: _checked_content(
            file, f"{_transport_path(digest)}.manifest.json", digest
        ),
        config=lambda config: _checked_content(file, _transport_path(config.digest), config.digest),
    )
    with named(file.name):
        image = choose_image(document, _digest(document), documents, platform)
    return _chosen_image(file, image, _transport_path)


def _chosen_image(file: ImageFile, image: ChosenImage, path: Callable[[str], str]) -> Source:
    """What to read; `path` says where a blob is."""
    for layer in image.layers:
        if layer.is_foreign and file.size(path(layer.digest)) is None:
            raise InvalidImage(
                f"{file.name} lacks the layer {layer.digest}, which may not be distributed",
                "use an image that has all layers of its own",
            )
        _size(file, path(layer.digest))
    return Source(
        name=file.name,
        digest=image.digest,
        layers=image.layers,
        diff_ids=image.diff_ids,
        config_document=image.config_document,
        read=lambda layer: _checked(file, path(layer.digest), layer.digest),
        verb="load",
        remedy=file.remedy,
        file_type=image.file_type,
    )


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _transport_path(digest: str) -> str:
    return digest.partition(":")[2]


def _json(file: ImageFile, path: str) -> Any:
    try:
        return json.loads(_content(file, path))
    except (ValueError, RecursionError) as error:
        raise InvalidImage(f"{file.name}: {path} is no JSON", file.remedy) from error


def _content(file: ImageFile, path: str) -> bytes:
    if _size(file, path) > LARGEST_DOCUMENT:
        raise InvalidImage(f"{file.name}: {path} is larger than any such file", file.remedy)
    return b"".join(file.read(path))


def _checked_content(file: ImageFile, path: str, digest: str) -> bytes:
    content = _content(file, path)
    if _digest(content) != digest:
        raise _wrong(file, digest)
    return content


def _checked(file: ImageFile, path: str, digest: str) -> Iterator[bytes]:
    """The content of a blob, which is checked at its end."""
    checksum = hashlib.sha256()
    for chunk in file.read(path):
        checksum.update(chunk)
        yield chunk
    if f"sha256:{checksum.hexdigest()}" != digest:
        raise _wrong(file, digest)


def _size(file: ImageFile, path: str) -> int:
    size = file.size(path)
    if size is None:
        raise InvalidImage(f"{file.name} lacks {path}, which it names", file.remedy)
    return size


def _wrong(file: ImageFile, digest: str) -> DamagedImage:
    return DamagedImage(f"{file.name}: {digest} is not what its name says", file.remedy)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
