# SPDX-License-Identifier: Apache-2.0
"""Gives images of the store under the names by which other programs look for them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import ImageError, InvalidReference
from cwl_udss.filesystems.leases import presence_name
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.libraries.naming import Kind, Naming
from cwl_udss.images.links.files import write_sif_file, write_squashfs_file
from cwl_udss.images.reference import DOCKER_HUB, parse_reference
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.staging import sync

_OFFICIAL = "library/"


@dataclass(frozen=True, kw_only=True)
class Linked:
    """A name under which an image is now."""

    path: Path
    is_new: bool
    """Whether it was not there before, or was to be replaced."""


def check_linkable(naming: Naming) -> None:
    """Raise ImageError for names under which nothing of ours is put."""
    if naming.is_filled_by_others:
        raise ImageError(
            f"{naming.name} names what {naming.program} keeps, and nobody else writes there",
            "choose cwltool, nextflow or another that has files",
        )
    if naming.kind in (Kind.DIRECTORY, Kind.ARCHIVE):
        raise ImageError(
            f"{naming.name} names {naming.kind.value}, which are not written",
            "choose cwltool, nextflow or another that has files",
        )


def spellings(name: str) -> tuple[str, ...]:
    """Return how people write the name of an image, of which the store knows the whole one; the
    most usual first."""
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return (name,)
    short = reference.repository.removeprefix(_OFFICIAL)
    names = [short if reference.registry in ("", DOCKER_HUB) else reference.name, reference.name]
    digest = f"@{reference.digest}" if reference.digest else ""
    tags = [f":{reference.tag}"] if reference.tag else [""]
    if reference.tag == "latest" and not digest:
        tags.append("")
    return tuple(dict.fromkeys(f"{name}{tag}{digest}" for name in names for tag in tags))


def link_image(
    image: StoredImage,
    names: Collection[str],
    naming: Naming,
    directory: Path,
    store: Store,
    *,
    replaces: bool,
) -> Iterator[Linked]:
    """Give an image under the names that a program has for these ways to write it: the first is a
    file, the others links to it. Raises ImageError or StoreError."""
    platform = image.config.platform
    paths = dict.fromkeys(path for name in names for path in naming.paths(name, platform)[:1])
    first = None
    for path in (directory / name for name in paths):
        is_new = replaces or not os.path.lexists(path)
        if is_new and first is None:
            write_image_file(image, next(iter(names)), path, store, naming.kind)
        elif is_new and first is not None:
            _place_link(path, first)
        first = first or path
        yield Linked(path=path, is_new=is_new)


def _place_link(path: Path, target: Path) -> None:
    with _explained():
        made = _beside(path)
        made.symlink_to(os.path.relpath(target, path.parent))
        made.rename(path)


def write_image_file(
    image: StoredImage, name: str, path: Path, store: Store, kind: Kind = Kind.SIF
) -> None:
    """Write an image as one file, which is pulled by `name`. It is made beside its place, so that
    nobody ever sees a part of it. Raises ImageError or StoreError."""
    used = store.use(image) if image.is_stored else contextlib.nullcontext()
    with used, store.work() as work, placed_file(path) as made:
        if kind is Kind.SQUASHFS:
            write_squashfs_file(image, made, work)
        else:
            write_sif_file(image, name, made, work)


@contextlib.contextmanager
def placed_file(path: Path) -> Iterator[Path]:
    """Give a place for a file that is to be at a path when it is whole. Raises ImageError."""
    with _explained():
        made = _beside(path)
        try:
            yield made
            made.chmod(0o755)  # as Apptainer's own, which a shell can launch
            sync(made)
            made.rename(path)
        finally:
            made.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"the image cannot be written: {system_words(error)}"
        raise ImageError(problem, "name another place") from error


def _beside(path: Path) -> Path:
    """A place in the same directory, which is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{presence_name()}")
