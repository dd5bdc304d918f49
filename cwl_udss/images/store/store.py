# SPDX-License-Identifier: Apache-2.0
"""The store of converted images: the one place that knows its paths.

    store/images/SHA256-RECIPE/   one image: rootfs/ or rootfs.squashfs, image.json, config.json
                                  (the registry's bytes)
    store/references/HASH.json    what a reference stood for when it was last resolved
    store/uses/SHA256-RECIPE/     who uses an image: presences; its time says when that began
    store/layers/SHA256           layers as they were downloaded, if they are to be kept
    store/builds/KEY/             what an instruction of a Dockerfile has changed
    store/own-words/NAME.json     what an image says of itself in files of its own
    store/written/HASH.json       of which image a file was made
    store/leases/                 whose turn it is to get an image
    store/quarantine/             images that were found damaged
    store/work/                   what is being made, by a directory per process

Correct without locks: an image's name says its content, and appears by rename when it is whole.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cwl_udss.files.checksums import name_of
from cwl_udss.filesystems.filesystem import look_at, owner_name
from cwl_udss.filesystems.leases import list_presences, living, presence, presence_name, remove_dead
from cwl_udss.images.formats.names import Compression, ImageFormat
from cwl_udss.images.manifests.manifest import Platform, is_digest
from cwl_udss.images.reference import ImageReference
from cwl_udss.images.store.image import (
    StoredImage,
    load_image,
    names_in,
    time_of,
    uses_of,
)
from cwl_udss.images.store.own_words import OwnWords
from cwl_udss.images.store.place import Place
from cwl_udss.images.store.references import Record, References
from cwl_udss.images.store.removal import check_removable
from cwl_udss.staging import publish_directory, publish_file, remove_abandoned, work_directory

if TYPE_CHECKING:
    from cwl_udss.images.trees.contents import Written

_logger = logging.getLogger(__name__)

# Part of every image's name. To be raised when conversion makes something else of the same layers.
RECIPE = 3


class Store:
    """A directory of images, shared by any number of processes on any number of machines.

    If its group may write to it, it is the group's: what is made in it everybody of the group can
    use. In front of it may be libraries, stores that are only read.
    """

    def __init__(
        self,
        path: Path,
        *,
        libraries: Collection[Path] = (),
        format: ImageFormat | None = None,
        compression: Compression = Compression.ZSTD,
        keeps_layers: bool = False,
    ) -> None:
        """`format` is that of new images; None chooses by the filesystem. `compression` is for
        SquashFS."""
        self.path = path
        self._place = Place(path)
        self.own_words = OwnWords(self._place)
        self.compression = compression
        self.keeps_layers = keeps_layers
        self._libraries = tuple(Store(library) for library in libraries)
        self._format = format
        self._images = path / "images"
        self._references = References(path / "references")
        self._builds = path / "builds"
        self._layers = path / "layers"

    @cached_property
    def format(self) -> ImageFormat:
        """That of new images: one file where many small ones are slow."""
        if self._format is not None:
            return self._format
        return ImageFormat.SQUASHFS if look_at(self.path).is_shared else ImageFormat.DIRECTORY

    @property
    def is_group(self) -> bool:
        """Whether all of a group write to it."""
        return self._place.is_group

    def find(
        self, name: ImageReference | str, platform: Platform, stamp: str = ""
    ) -> StoredImage | None:
        """Return the image that a name stands for, a (qualified) reference or any other; None if it
        is not here, or was remembered with another stamp."""
        if isinstance(name, ImageReference) and name.digest is not None:
            image = self.find_digest(name.digest)
            if image is not None:
                return image
        for store in (*self._libraries, self):
            with store._place.explained():
                record = store._references.find(str(name), platform)
            if record and record.stamp == stamp:
                image = self.find_digest(record.digest)
                if image is not None:
                    return image
        return None

    def find_digest(self, digest: str) -> StoredImage | None:
        """Return the image with the platform manifest of this digest, None if it is not here."""
        if not is_digest(digest):
            return None
        for store in (*self._libraries, self):
            with store._place.explained():
                store._place.check_owner()
                image = load_image(store._image_path(digest))
            if image is not None:
                return image
        return None

    def refresh(self) -> None:
        """Look anew for what other machines have published: opening a directory makes an NFS
        client ask the server, and forget what it believes not to be there (nfs(5), "lookupcache").
        """
        for directory in (self._images, self._references.directory):
            names_in(directory)

    def images(self) -> list[StoredImage]:
        """Return all images of this store itself, each with the references that stand for it."""
        with self._place.explained():
            references: dict[str, list[str]] = {}
            for record in self._references.all().values():
                references.setdefault(record.digest, []).append(record.reference)
            found = []
            for name in sorted(names_in(self._images)):
                is_ours = name.endswith(f"-{RECIPE}")  # another version makes them otherwise
                image = load_image(self._images / name) if is_ours else None
                if image:
                    names = tuple(sorted(references.get(image.digest, ())))
                    used = time_of(uses_of(image))
                    found.append(replace(image, references=names, last_used=used))
            return found

    @contextlib.contextmanager
    def work(self) -> Iterator[Path]:
        """A directory to make an image in, gone afterwards."""
        with self._place.explained():
            self._place.check_owner()
            with work_directory(self._place.own("work")) as path:
                yield path

    def lease(self, subject: str) -> Path:
        """Return the path of the lease for getting what `subject` names."""
        with self._place.explained():
            return self._place.own("leases") / name_of(subject)

    @contextlib.contextmanager
    def use(self, image: StoredImage) -> Iterator[None]:
        """Show that an image is in use, so that nobody removes it."""
        with contextlib.ExitStack() as stack:
            # Where it is only read nobody can be told, and another's uses cannot be in the way.
            with contextlib.suppress(OSError):
                directory = uses_of(image)
                if directory.parent.parent == self.path:
                    self._place.own("uses")
                    self._place.own(f"uses/{directory.name}")
                stack.enter_context(presence(directory / presence_name()))
                remove_dead(directory)
            yield

    def users(self, image: StoredImage, patience: float) -> set[Path]:
        """Return the presences of those who use an image (see leases.living)."""
        return living(list_presences(uses_of(image)), patience)

    def publish(
        self,
        made: Path,
        digest: str,
        config: bytes,
        written: Written,
        format: ImageFormat | None = None,
    ) -> None:
        """Put the image whose root filesystem is in `made`, below work(), into the store."""
        facts = {
            "digest": digest,
            "format": (format or self.format).value,
            "size": written.bytes,
            "entries": written.entries,
            "content": written.digest,
        }
        (made / "config.json").write_bytes(config)
        (made / "image.json").write_text(json.dumps(facts), encoding="utf-8")
        if self.is_group:
            for path in (made / "config.json", made / "image.json"):
                path.chmod(0o644)
        made.chmod(0o2775 if self.is_group else 0o755)
        with self._place.explained():
            publish_directory(made, self._place.own("images") / self._image_path(digest).name)

    def layer(self, digest: str) -> Path | None:
        """Return a layer that was kept."""
        for store in (*self._libraries, self):
            path = store._layers / digest.partition(":")[2]
            if path.exists():
                return path
        return None

    def keep_layer(self, made: Path, digest: str) -> Path:
        """Keep a layer, a checked file below work(). Returns its new place."""
        with self._place.explained():
            if self.is_group:
                made.chmod(0o664)
            return made.replace(self._place.own("layers") / digest.partition(":")[2])

    def build_layer(self, key: str) -> Path | None:
        """Return the directory with what the instruction of this key has changed, if it is here."""
        path = self._builds / key
        return path if path.is_dir() else None

    def publish_build_layer(self, made: Path, key: str) -> Path:
        """Put such a directory, made below work(), into the store."""
        with self._place.explained():
            publish_directory(made, self._place.own("builds") / key)
        return self._builds / key

    def remember(
        self, name: ImageReference | str, platform: Platform, digest: str, stamp: str = ""
    ) -> None:
        """Record what a name stands for now; `stamp` tells a file's content from a later one."""
        record = Record(
            reference=str(name),
            platform=str(platform),
            digest=digest,
            resolved=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            stamp=stamp,
        )
        with self.work() as work:
            self._place.own("references")
            path = self._references.path(record.reference, platform)
            content = json.dumps(asdict(record)).encode()
            publish_file(path, content, work, mode=0o664 if self.is_group else None)

    def forget(self, image: StoredImage, references: Collection[str]) -> None:
        """Forget references to an image."""
        with self._place.explained():
            for path, record in self._references.all().items():
                if record.digest == image.digest and record.reference in references:
                    path.unlink(missing_ok=True)

    def remove(self, image: StoredImage) -> bool:
        """Remove an image, unless it is in use. Says whether it was removed. Raises StoreError if
        it is another's; then it stays as it is."""
        written = (self._images, self._references.directory, self.path / "work")
        with self._place.explained():
            check_removable(image, written)
        with self._place.explained(), work_directory(self._place.own("work")) as work:
            # Gone for everybody at once by the rename; taking it apart needs time.
            with contextlib.suppress(FileNotFoundError):
                image.path.parent.rename(work / "removed")
                # Who has come meanwhile looks for the image after having shown himself.
                if self.users(image, patience=0):
                    publish_directory(work / "removed", image.path.parent)
                    return False
            return True

    def clean(self, patience: float) -> list[Path]:
        """Remove what processes have left here by dying. Returns what it was; what is other
        people's stays, and is logged."""
        with self._place.explained():
            removed = remove_abandoned(self.path / "work", patience, logging.WARNING)
            places = (self.path / "leases", *self.path.glob("uses/*"))
            shown = {path for place in places for path in list_presences(place)}
            for path in sorted(shown - living(shown, patience)):
                try:
                    path.unlink(missing_ok=True)
                    removed.append(path)
                except PermissionError:
                    _logger.warning("%s stays: it is %s's", path, owner_name(path))
            return removed

    def quarantine(self, image: StoredImage) -> Path:
        """Put a damaged image where nobody finds it. Returns its new place."""
        with self._place.explained():
            place = self._place.own("quarantine") / f"{image.path.parent.name}.{presence_name()}"
            image.path.parent.rename(place)
            return place

    def _image_path(self, digest: str) -> Path:
        return self._images / f"{digest.partition(':')[2]}-{RECIPE}"
