# SPDX-License-Identifier: Apache-2.0
"""Carries images to a machine without network: one tar file with a SquashFS file for each.

NAME/image.json         what the image is, and what it is called
NAME/config.json        the registry's bytes
NAME/rootfs.squashfs
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from cwl_udss.errors import ImageError, InvalidImage
from cwl_udss.files import copies
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.convert import make_in_turn, new_root
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.squashfs.reader import read_squashfs
from cwl_udss.images.formats.squashfs.writer import SquashfsSink
from cwl_udss.images.layers.compression import compression_name
from cwl_udss.images.layers.file_kinds import LONGEST_BEGINNING, identify
from cwl_udss.images.manifests.manifest import Platform, is_digest, parse_config
from cwl_udss.images.store.image import ROOT_NAMES, StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.images.trees.contents import Written, write_tree
from cwl_udss.images.trees.listing import file_digest
from cwl_udss.images.trees.snapshot import read_directory
from cwl_udss.staging import remove_tree

_ROOT = ROOT_NAMES[ImageFormat.SQUASHFS]
_CONFIG = "config.json"
_FACTS = "image.json"


def export_images(
    images: Iterable[tuple[StoredImage, Collection[str]]],
    platform: Platform,
    store: Store,
    target: Path,
) -> None:
    """Write images, each with the names that it is to have, to a file. Raises ImageError and
    StoreError."""
    named: defaultdict[str, set[str]] = defaultdict(set)
    distinct = {}
    for image, names in images:
        distinct[image.digest] = image
        named[image.digest].update(names)
    if os.path.isdir(target):
        raise ImageError(f"{target} is a directory", "name a file in it")
    if not os.path.isdir(target.parent):  # else it would be found out when all is made
        raise ImageError(f"there is no directory {target.parent}", "name another place")
    with store.work() as work:
        made = work / "bundle.tar"
        with tarfile.open(made, "x", format=tarfile.PAX_FORMAT) as archive:
            for number, image in enumerate(distinct.values()):
                with store.use(image):
                    facts = {"names": sorted(named[image.digest]), "platform": str(platform)}
                    _add(archive, facts, image, work / str(number), store)
        try:
            _put(made, target)
        except OSError as error:  # which may name what it would have been called first
            words = system_words(OSError(error.errno, error.strerror, str(target)))
            raise ImageError(
                f"the images cannot be written: {words}", "name another place"
            ) from error


def _put(made: Path, target: Path) -> None:
    """Have the bundle where it is wanted, whole or not at all; but into a device or pipe what is
    written is written."""
    if target.exists() and not target.is_file():
        with made.open("rb") as stream, target.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
    else:
        copies.move(str(made), os.path.realpath(target))  # a link stays one


def import_images(bundle: Path, store: Store) -> Iterator[StoredImage]:
    """Put the images of a bundle into the store; gives each. Raises ImageError or StoreError."""
    count = 0
    try:
        _check_tar(bundle)
        with tarfile.open(bundle) as archive:
            for member in archive.getmembers():
                if member.isfile() and member.name.endswith(f"/{_FACTS}"):
                    yield _import(archive, member.name.rpartition("/")[0], store)
                    count += 1
    except (InvalidImage, tarfile.TarError, KeyError, ValueError, TypeError, EOFError) as error:
        raise ImageError(
            f"{bundle} is no whole bundle of images ({error})", "export the images again"
        ) from error
    except OSError as error:
        raise ImageError(
            f"{bundle} cannot be read: {error.strerror}", "look at its path"
        ) from error
    if not count:
        raise ImageError(
            f"{bundle} holds nothing that `cwl-udss images export` has written",
            "what others have written is an image by its path: cwl-udss images pull ./FILE",
        )


def _check_tar(bundle: Path) -> None:
    """Say what a file is that is something else."""
    with bundle.open("rb") as stream:
        beginning = stream.read(LONGEST_BEGINNING)
    may_be_one = compression_name(beginning) or beginning[257:262] == b"ustar"
    kind = None if may_be_one else identify(beginning)
    if kind is not None or not beginning:
        raise ImageError(
            f"{bundle} is {kind.name if kind and beginning else 'empty'}, and no bundle of images",
            "give what `cwl-udss images export` has written",
        )


def _add(
    archive: tarfile.TarFile, facts: dict[str, Any], image: StoredImage, work: Path, store: Store
) -> None:
    work.mkdir()
    path, content = image.path, image.content
    if image.format is ImageFormat.DIRECTORY:
        path = work / _ROOT
        with closing(SquashfsSink(path, work / "contents", store.compression)) as sink:
            content = write_tree(*read_directory(image.path), sink).digest
    facts = {**facts, "digest": image.digest, "entries": image.entries, "content": content}
    (work / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
    archive.add(work / _FACTS, f"{work.name}/{_FACTS}")
    archive.add(image.path.parent / _CONFIG, f"{work.name}/{_CONFIG}")
    archive.add(path, f"{work.name}/{_ROOT}")
    remove_tree(work)


def _import(archive: tarfile.TarFile, place: str, store: Store) -> StoredImage:
    facts = json.loads(_read(archive, f"{place}/{_FACTS}"))
    document = _read(archive, f"{place}/{_CONFIG}")
    parse_config(document)  # raises what is wrong with it
    digest = str(facts["digest"])
    if not is_digest(digest):
        raise ValueError(f"{digest!r} is no digest")

    def make() -> None:
        with store.work() as work:
            taken = work / _ROOT
            _extract(archive, f"{place}/{_ROOT}", taken, facts)
            made = work / "image"
            if store.format is ImageFormat.SQUASHFS:  # it is one already, however it is packed
                made.mkdir()
                taken.rename(made / _ROOT)
                written = Written(
                    entries=int(facts["entries"]),
                    bytes=(made / _ROOT).stat().st_size,
                    digest=str(facts["content"]),
                )
            else:
                with new_root(made, work / "contents", store) as sink:
                    written = write_tree(*read_squashfs(taken), sink)
            store.publish(made, digest, document, written)

    names = [str(name) for name in facts["names"]]
    image = make_in_turn(digest, store, make, ", ".join(names) or digest)
    os, architecture, *variant = str(facts["platform"]).split("/")
    platform = Platform(os=os, architecture=architecture, variant="".join(variant))
    for name in names:
        store.remember(name, platform, digest)
    return image


def _extract(archive: tarfile.TarFile, member: str, target: Path, facts: dict[str, Any]) -> None:
    stream = archive.extractfile(member)
    if stream is None:
        raise ValueError(f"{member} is no file")
    with stream, target.open("xb") as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
    target.chmod(0o644)
    if file_digest(target) != facts["content"]:
        raise ValueError(f"{member} is not what was exported")


def _read(archive: tarfile.TarFile, member: str) -> bytes:
    stream = archive.extractfile(member)
    if stream is None:
        raise ValueError(f"{member} is no file")
    with stream:
        return stream.read()
