# SPDX-License-Identifier: Apache-2.0
"""Images out of files: what `docker save` and OCI tools write, and root filesystems in a tar.

The formats: OCI image-spec (image-layout.md), and moby's image/spec/v1.2.md, "Combined Image JSON +
Filesystem Changeset Format". No path in an archive is resolved on the host: its headers are read,
and contents are cut out of it by their offsets.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwl_udss.errors import ImageError, InvalidImage
from cwl_udss.images.archive import Kind, LayerIndex, Member, index_layer
from cwl_udss.images.choice import Documents, choose_from_layout
from cwl_udss.images.compression import LONGEST_MAGIC, decompress, is_compressed
from cwl_udss.images.convert import Source
from cwl_udss.images.manifest import (
    LARGEST_DOCUMENT,
    Descriptor,
    Platform,
    check_platform,
    is_digest,
    parse_config,
)

_CHUNK_BYTES = 1 << 20
_DOCKER_LISTING = "manifest.json"
_OCI_LISTING = "index.json"


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """A tar of an image, uncompressed, and what is in it."""

    name: str
    """For messages: the path or URL that the person gave."""
    path: Path
    index: LayerIndex
    members: dict[str, Member]


def read_image_file(kind: str, path: Path, name: str, platform: Platform, work: Path) -> Source:
    """Return the image in a file: "load" for an archive, "import" for a root filesystem, or "any".

    `work` is a directory for what has to be unpacked. Raises ImageError if it is none of that kind.
    """
    file = open_image_file(path, name, work)
    is_archive = is_image_archive(file) if kind == "any" else kind == "load"
    return (archived_image if is_archive else imported_image)(file, platform)


def open_image_file(path: Path, name: str, work: Path) -> ImageFile:
    """Read a tar's headers. A compressed one is unpacked into `work`, as its pieces are read out of
    order. Raises ImageError if it cannot be read, or is no tar."""
    try:
        plain = work / "archive.tar"
        with path.open("rb") as stream, plain.open("xb") as copy:
            packed = is_compressed(stream.read(LONGEST_MAGIC))
            stream.seek(0)
            chunks = decompress(_read(stream))
            index = index_layer(_copied(chunks, copy) if packed else chunks)
    except InvalidImage as error:
        problem = error.problem.replace("a layer", name, 1)
        raise InvalidImage(problem, error.advice) from error
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror}", "look at its path") from error
    members = {_normal(member.path.decode("utf-8", "replace")): member for member in index.members}
    return ImageFile(name=name, path=plain if packed else path, index=index, members=members)


def is_image_archive(file: ImageFile) -> bool:
    """Say whether it is one that `docker load` would take, rather than a root filesystem."""
    return _DOCKER_LISTING in file.members or _OCI_LISTING in file.members


def archived_image(file: ImageFile, platform: Platform) -> Source:
    """Return the image in an archive of `docker save` or in an OCI layout.

    Raises InvalidImage if there is none, or several.
    """
    if _DOCKER_LISTING in file.members:  # which new archives have beside the other
        return _docker_image(file, platform)
    if _OCI_LISTING in file.members:
        return _oci_image(file, platform)
    raise InvalidImage(
        f"{file.name} is no image: it has neither {_DOCKER_LISTING} nor {_OCI_LISTING}",
        "it must be what `docker save` writes; a root filesystem goes into dockerImport",
    )


def imported_image(file: ImageFile, platform: Platform) -> Source:
    """Return an image that is nothing but a root filesystem, as `docker import` makes it."""
    size = file.path.stat().st_size
    layer = Descriptor(media_type="", digest=file.index.diff_id, size=size)
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
        read=lambda _: _read_range(file.path, 0, size),
        verb="load",
    )


def _docker_image(file: ImageFile, platform: Platform) -> Source:
    listing = _json(file, _DOCKER_LISTING)
    if not isinstance(listing, list) or len(listing) != 1:
        raise InvalidImage(
            f"{file.name} holds {len(listing) if isinstance(listing, list) else 'no'} images",
            "save one image into an archive",
        )
    entry = listing[0]
    try:
        config_path, layer_paths = str(entry["Config"]), [str(path) for path in entry["Layers"]]
    except (KeyError, TypeError) as error:
        raise InvalidImage(f"{file.name} has a {_DOCKER_LISTING} that is none") from error
    document = _content(file, config_path)
    config = parse_config(document)
    check_platform(config, platform)
    if len(layer_paths) != len(config.diff_ids) or not all(map(is_digest, config.diff_ids)):
        raise InvalidImage(
            f"{file.name} has {len(layer_paths)} layers that are not its configuration's",
            "save it again",
        )
    layers = {
        digest: _member(file, path)
        for digest, path in zip(config.diff_ids, layer_paths, strict=True)
    }
    return Source(
        name=file.name,
        digest=_digest(document),
        layers=tuple(
            Descriptor(media_type="", digest=digest, size=layers[digest].size)
            for digest in config.diff_ids
        ),
        diff_ids=config.diff_ids,
        config_document=document,
        read=lambda layer: _read_member(file, layers[layer.digest]),
        verb="load",
    )


def _oci_image(file: ImageFile, platform: Platform) -> Source:
    documents = Documents(
        manifest=lambda digest: _blob(file, digest),
        config=lambda descriptor: _blob(file, descriptor.digest),
    )
    index = _content(file, _OCI_LISTING)
    try:
        image = choose_from_layout(index, documents, platform)
    except ImageError as error:
        if file.name in error.problem:
            raise
        raise type(error)(f"{file.name}: {error.problem}", error.advice) from error
    return Source(
        name=file.name,
        digest=image.digest,
        layers=image.layers,
        diff_ids=image.diff_ids,
        config_document=image.config_document,
        read=lambda layer: _read_member(file, _member(file, _blob_path(layer.digest))),
        verb="load",
    )


def _blob(file: ImageFile, digest: str) -> bytes:
    content = _content(file, _blob_path(digest))
    if _digest(content) != digest:
        raise InvalidImage(f"{file.name}: {digest} is not what its name says", "save it again")
    return content


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(file: ImageFile, path: str) -> Any:
    try:
        return json.loads(_content(file, path))
    except ValueError as error:
        raise InvalidImage(f"{file.name}: {path} is no JSON", "save it again") from error


def _content(file: ImageFile, path: str) -> bytes:
    member = _member(file, path)
    if member.size > LARGEST_DOCUMENT:
        raise InvalidImage(f"{file.name}: {path} is larger than any such file", "save it again")
    return b"".join(_read_member(file, member))


def _member(file: ImageFile, path: str) -> Member:
    """The file at a path; old archives have links to layers that several images share."""
    name = _normal(path)
    for _ in range(2):
        member = file.members.get(name)
        if member is None:
            break
        if member.kind is Kind.FILE:
            return member
        link = member.link.decode("utf-8", "replace")
        if member.kind is Kind.SYMBOLIC_LINK:
            link = posixpath.join(posixpath.dirname(name), link)
        name = _normal(link)
    raise InvalidImage(f"{file.name} lacks {path}, which it names", "save it again")


def _read_member(file: ImageFile, member: Member) -> Iterator[bytes]:
    return _read_range(file.path, member.offset, member.size)


def _read_range(path: Path, offset: int, size: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(offset)
        while size and (chunk := stream.read(min(size, _CHUNK_BYTES))):
            size -= len(chunk)
            yield chunk


def _read(stream: Any) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _copied(chunks: Iterable[bytes], copy: Any) -> Iterator[bytes]:
    for chunk in chunks:
        copy.write(chunk)
        yield chunk


def _normal(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
