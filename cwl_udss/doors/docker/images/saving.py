# SPDX-License-Identifier: Apache-2.0
"""`podman save`: an archive as docker writes it.

Its configuration is the image's own, byte for byte, where its layers can be had: kept in the store,
or at its registry. Else there is one layer, of the root filesystem as it is here, with a
configuration that says so; the store knows the image by the id that this gives it, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cwl_udss.doors.docker.errors import ContainerError, UsageError
from cwl_udss.doors.docker.images.lookup import find_image, node_images
from cwl_udss.doors.docker.options import SAVE
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.docker.words import ALIAS, shown_reference
from cwl_udss.errors import ImageError, UdssError
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.layers.compression import decompress
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.reference import parse_reference
from cwl_udss.images.sources.registry.registries import load_registries
from cwl_udss.images.sources.registry.remote import find_image as find_remote
from cwl_udss.images.store.image import StoredImage

_FORMATS = (None, "docker-archive")


def save(session: Session, arguments: list[str]) -> int:
    """Write images to an archive."""
    usage = f"{session.program.value} save [OPTIONS] IMAGE [IMAGE...]"
    parser = DoorParser(SAVE, usage)
    parser.add_argument("names", nargs="+")
    options = parser.parse(arguments)
    if options.format not in _FORMATS:
        raise UsageError(f"--format {options.format}", "there is docker-archive")
    if not options.output and sys.stdout.isatty():
        raise UsageError("cowardly refusing to save to a terminal", "use --output or redirect")
    images = [(find_image(session, name), name) for name in options.names]
    with session.store.work() as work:
        made = work / "archive.tar"
        with tarfile.open(made, "x", format=tarfile.PAX_FORMAT) as archive:
            _write(session, archive, images, work)
        if not options.output:
            with made.open("rb") as stream:
                shutil.copyfileobj(stream, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
        else:
            _put(made, Path(options.output))
    return 0


def _put(made: Path, target: Path) -> None:
    """Have the archive in its place when it is whole."""
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            shutil.copyfile(made, beside)
            beside.replace(target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ContainerError(system_words(OSError(error.errno, error.strerror, str(target)))) from (
            error
        )


def _write(
    session: Session,
    archive: tarfile.TarFile,
    images: list[tuple[StoredImage, str]],
    work: Path,
) -> None:
    listing = []
    for number, (image, name) in enumerate(images):
        place = work / str(number)
        place.mkdir()
        document, layers = _parts(session, image, name, place)
        config = f"{hashlib.sha256(document).hexdigest()}.json"
        _add(archive, config, document)
        for layer in layers:
            if f"{layer.name}/layer.tar" not in archive.getnames():
                archive.add(layer, f"{layer.name}/layer.tar", filter=_plain)
        reference = shown_reference(name, session.program)
        tags = [str(reference)] if reference and reference.tag and not reference.digest else []
        paths = [f"{layer.name}/layer.tar" for layer in layers]
        listing.append({"Config": config, "RepoTags": tags, "Layers": paths})
    _add(archive, "manifest.json", json.dumps(listing).encode())


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


def _parts(session: Session, image: StoredImage, name: str, work: Path) -> tuple[bytes, list[Path]]:
    """The configuration of an image, and its layers as tars in `work`, called by their digests."""
    document = (image.path.parent / "config.json").read_bytes()
    diff_ids = list((json.loads(document).get("rootfs") or {}).get("diff_ids") or ())
    if not session.settings.offline:
        with contextlib.suppress(UdssError):  # it is somewhere else, or not to be had
            layers = _original_layers(session, image, name, diff_ids, work)
            return document, layers
    return _flattened(session, image, document, work)


def _original_layers(
    session: Session, image: StoredImage, name: str, diff_ids: list[str], work: Path
) -> list[Path]:
    """The layers as the registry has them. Raises UdssError if it has others."""
    references = [one for one in (name, *image.references) if not one.startswith(ALIAS)]
    failure: UdssError = ImageError(f"{name} has no name at a registry")
    for text in references:
        try:
            remote = find_remote(
                parse_reference(text),
                platform=this_platform(),
                registries=load_registries(session.environment, session.home),
                environment=session.environment,
                home=session.home,
            )
            if remote.digest != image.digest or len(remote.source.layers) != len(diff_ids):
                raise ImageError(f"{text} is another image by now")
            return [
                _tar(decompress(iter(remote.source.read(layer))), digest, work)
                for layer, digest in zip(remote.source.layers, diff_ids, strict=True)
            ]
        except UdssError as error:
            failure = error
    raise failure


def _tar(chunks: Iterator[bytes], digest: str, work: Path) -> Path:
    path = work / digest.removeprefix("sha256:")
    found = hashlib.sha256()
    with path.open("wb") as stream:
        for chunk in chunks:
            found.update(chunk)
            stream.write(chunk)
    if found.hexdigest() != path.name:
        raise ImageError(f"the layer {digest} is not what the image says")
    return path


def _flattened(
    session: Session, image: StoredImage, document: bytes, work: Path
) -> tuple[bytes, list[Path]]:
    """One layer of all that is there, and a configuration that says so; by whose digest the image
    is known from now on."""
    with node_images(session) as node:
        made = work / "layer"
        with made.open("wb") as stream:
            _write_tree(node.directory(image), stream)
    with made.open("rb") as stream:
        digest = _digest(stream)
    made = made.rename(work / digest)
    facts = json.loads(document)
    facts["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    facts["history"] = [{"created_by": "cwl-udss save", "comment": "all layers in one"}]
    written = json.dumps(facts, sort_keys=True).encode()
    id = hashlib.sha256(written).hexdigest()
    session.store.remember(f"{ALIAS}{id}", this_platform(), image.digest)
    return written, [made]


def _digest(stream: IO[bytes]) -> str:
    found = hashlib.sha256()  # hashlib.file_digest() is not in Python 3.10
    while chunk := stream.read(1 << 20):
        found.update(chunk)
    return found.hexdigest()


def _write_tree(directory: Path, stream: IO[bytes]) -> None:
    """The same bytes for the same tree: sorted, and with nothing of when and by whom."""

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = int(member.mtime)
        return member

    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(os.listdir(directory)):
            archive.add(directory / name, name, filter=owned)
