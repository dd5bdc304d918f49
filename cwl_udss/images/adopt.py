# SPDX-License-Identifier: Apache-2.0
"""Makes an image of the store out of whatever a source has: layers, or one file.

What is SquashFS already, as the root filesystem in a SIF file is, is taken as it is where the store
keeps its images so, and written anew by the sink where it keeps directories.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cwl_udss.errors import DamagedImage, InvalidImage, NoContainerImage
from cwl_udss.images.convert import convert, convert_in_turn, make_in_turn, new_root
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.squashfs.reader import read_squashfs
from cwl_udss.images.in_place.root_part import RootPart, holds_root, root_part
from cwl_udss.images.layers.compression import compression_name
from cwl_udss.images.layers.file_kinds import identify
from cwl_udss.images.layers.tar_fields import BLOCK, has_right_sum
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.progress import pull_progress
from cwl_udss.images.sources.archives import read_image_file
from cwl_udss.images.sources.image_files import read_range
from cwl_udss.images.sources.source import Source
from cwl_udss.images.store.image import ROOT_NAMES, StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.images.trees.contents import Written, write_tree
from cwl_udss.images.trees.listing import file_digest
from cwl_udss.images.trees.merge import ensure_mount_points
from cwl_udss.images.trees.table import EntryTable
from cwl_udss.machine.waiting import told

_INODES = struct.Struct("<4xI")  # how many there are, at the beginning of SquashFS


@dataclass(frozen=True, kw_only=True)
class ReceivedFile:
    """A file that has come, in a work directory of the store, out of which it may be taken."""

    path: Path
    name: str
    """For messages."""
    digest: str
    """The image's."""
    remedy: str
    """What to do if it is damaged."""


def make_image(source: Source, store: Store, platform: Platform) -> StoredImage:
    """Return the image made of a source, made if need be. Raises ImageError or StoreError, with
    nothing half-made left behind."""
    if not source.file_type:
        return convert_in_turn(source, store)

    def make() -> None:
        with store.work() as work:
            file = ReceivedFile(
                path=_received(source, work),
                name=source.name,
                digest=source.digest,
                remedy=source.remedy,
            )
            root = received_root(file, platform)
            if root is not None:
                root = replace(root, config=source.config_document or root.config)
                _take(file, root, store, work)
                return
            # An archive, or a tar, that was pushed as it is.
            archive = read_image_file("any", file.path, file.name, platform, work)
            convert(replace(archive, digest=source.digest), store)

    return make_in_turn(source.digest, store, make, source.name)


def received_root(file: ReceivedFile, platform: Platform) -> RootPart | None:
    """Return where the root filesystem is in a file that has come; see root_part()."""
    with _explained(file):
        return root_part(file.path, file.name, platform)


def adopt(file: ReceivedFile, root: RootPart, store: Store) -> StoredImage:
    """Return the image whose root filesystem is in a file. Raises ImageError or StoreError."""

    def make() -> None:
        with store.work() as work:
            _take(file, root, store, work)

    return make_in_turn(file.digest, store, make, file.name)


def _take(file: ReceivedFile, root: RootPart, store: Store, work: Path) -> None:
    """Publish the root filesystem in a file. That it can be read is seen before."""
    made = work / "image"
    with told(f"until {file.name} is in the store"), _explained(file):
        tree, contents = read_squashfs(file.path, root.offset)
        if store.format is ImageFormat.DIRECTORY:
            ensure_mount_points(tree, EntryTable())
            with new_root(made, work / "contents", store) as sink:
                written = write_tree(tree, contents, sink)
        else:
            made.mkdir()
            written = _as_it_is(file.path, root, made / ROOT_NAMES[store.format])
        store.publish(made, file.digest, root.config, written)


def _as_it_is(file: Path, root: RootPart, target: Path) -> Written:
    """Have the bytes of the root filesystem, and nothing else, in a file of their own."""
    if root.offset == 0:
        file.rename(target)
        digest = file_digest(target)
    else:
        checksum = hashlib.sha256()
        with target.open("xb") as copy:
            for chunk in read_range(file, root.offset, root.size):
                copy.write(chunk)
                checksum.update(chunk)
        digest = f"sha256:{checksum.hexdigest()}"
    target.chmod(0o644)
    with target.open("rb") as stream:
        entries = _INODES.unpack(stream.read(_INODES.size))[0]
    return Written(entries=entries, bytes=root.size, digest=digest)


def _received(source: Source, work: Path) -> Path:
    """The file of a source, in `work`. Raises NoContainerImage as soon as it can be none."""
    (layer,) = source.layers
    path = work / "file"
    with pull_progress(source.name, [layer], source.verb) as progress, path.open("xb") as copy:
        beginning = b""
        for chunk in source.read(layer):
            if len(beginning) < BLOCK:
                beginning += chunk
                _check_beginning(beginning, source)
            copy.write(chunk)
            progress.advance(layer, len(chunk))
        progress.finish(layer)
    return path


def may_be_image(beginning: bytes) -> bool:
    """Say whether what begins so may be an image: a SIF or SquashFS file, or a tar, however that is
    compressed. A block of a tar is enough."""
    is_tar = has_right_sum(beginning[:BLOCK])
    return is_tar or holds_root(beginning) or bool(compression_name(beginning))


def _check_beginning(beginning: bytes, source: Source) -> None:
    """What its maker did not call an image may be anything, and of any size."""
    if len(beginning) >= BLOCK and not may_be_image(beginning):
        kind = identify(beginning)
        what = f"{kind.name} ({source.file_type})" if kind else source.file_type
        problem = f"{source.name}: it is no container image but {what}"
        raise NoContainerImage(problem, "look at its name, and at what has been pushed")


@contextlib.contextmanager
def _explained(file: ReceivedFile) -> Iterator[None]:
    """Call the file what the person knows it by, and say how to get a better one."""
    try:
        yield
    except InvalidImage as error:
        problem = error.problem.replace(str(file.path), file.name)
        advice = file.remedy if isinstance(error, DamagedImage) else error.advice
        raise type(error)(problem, advice) from error
