# SPDX-License-Identifier: Apache-2.0
"""The store of converted images: the one place that knows its paths.

    store/images/SHA256-RECIPE/   one image: rootfs/ or rootfs.squashfs, image.json, config.json
                                  (the registry's bytes)
    store/references/HASH.json    what a reference stood for when it was last resolved
    store/uses/SHA256-RECIPE/     who uses an image: presences; its time says when that began
    store/layers/SHA256           layers as they were downloaded, if they are to be kept
    store/builds/KEY/             what an instruction of a Dockerfile has changed
    store/leases/                 whose turn it is to get an image
    store/quarantine/             images that were found damaged
    store/work/                   what is being made, by a directory per process

Correct without locks: an image's name says its content, and appears by rename when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cwl_udss.errors import StoreError
from cwl_udss.filesystem import look_at, owner_name
from cwl_udss.images.formats import Compression, ImageFormat
from cwl_udss.images.manifest import ImageConfig, Platform, is_digest, parse_config
from cwl_udss.images.reference import ImageReference
from cwl_udss.leases import list_presences, living, presence, presence_name, remove_dead
from cwl_udss.staging import publish_directory, publish_file, remove_abandoned, work_directory
from cwl_udss.system_words import place_words

if TYPE_CHECKING:
    from cwl_udss.images.contents import Written

_logger = logging.getLogger(__name__)

# Part of every image's name. To be raised when conversion makes something else of the same layers.
RECIPE = 3


ROOT_NAMES = {ImageFormat.DIRECTORY: "rootfs", ImageFormat.SQUASHFS: "rootfs.squashfs"}
"""What a root filesystem is called in its image's directory."""


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image that is there."""

    digest: str
    """Of the platform's manifest, "sha256:…"."""
    format: ImageFormat
    path: Path
    """The root filesystem: a directory, or a SquashFS file."""
    config: ImageConfig
    size: int
    """Bytes that it takes."""
    entries: int
    content: str
    """Digest of the root filesystem as it is kept; "" of a directory that is not the store's."""
    references: tuple[str, ...] = ()
    """What it was asked for as; only set by Store.images()."""
    last_used: float | None = None
    """When a run last began to use it, in seconds since 1970; only set by Store.images()."""


@dataclass(frozen=True, kw_only=True)
class _ReferenceRecord:
    """The content of a file in references/."""

    reference: str
    platform: str
    digest: str
    resolved: str
    """When, UTC, ISO 8601."""
    stamp: str = ""
    """Of a file: size and time of change, which say whether it is still the same."""


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
        self.compression = compression
        self.keeps_layers = keeps_layers
        self._libraries = tuple(Store(library) for library in libraries)
        self._format = format
        self._images = path / "images"
        self._references = path / "references"
        self._builds = path / "builds"
        self._layers = path / "layers"

    @cached_property
    def format(self) -> ImageFormat:
        """That of new images: one file where many small ones are slow."""
        if self._format is not None:
            return self._format
        return ImageFormat.SQUASHFS if look_at(self.path).is_shared else ImageFormat.DIRECTORY

    @cached_property
    def is_group(self) -> bool:
        """Whether all of a group write to it."""
        with self._explained():
            self.path.mkdir(parents=True, exist_ok=True, mode=0o755)
            return bool(self.path.stat().st_mode & stat.S_IWGRP)

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
            with store._explained():
                record = store._record(store._record_path(str(name), platform))
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
            with store._explained():
                store._check_owner()
                image = _load(store._image_path(digest))
            if image is not None:
                return image
        return None

    def refresh(self) -> None:
        """Look anew for what other machines have published: opening a directory makes an NFS
        client ask the server, and forget what it believes not to be there (nfs(5), "lookupcache").
        """
        for directory in (self._images, self._references):
            _names(directory)

    def images(self) -> list[StoredImage]:
        """Return all images of this store itself, each with the references that stand for it."""
        with self._explained():
            references: dict[str, list[str]] = {}
            for record in self._records().values():
                references.setdefault(record.digest, []).append(record.reference)
            found = []
            for name in sorted(_names(self._images)):
                is_ours = name.endswith(f"-{RECIPE}")  # another version makes them otherwise
                image = _load(self._images / name) if is_ours else None
                if image:
                    names = tuple(sorted(references.get(image.digest, ())))
                    used = _time(_uses(image))
                    found.append(replace(image, references=names, last_used=used))
            return found

    @contextlib.contextmanager
    def work(self) -> Iterator[Path]:
        """A directory to make an image in, gone afterwards."""
        with self._explained():
            self._check_owner()
            with work_directory(self._own("work")) as path:
                yield path

    def lease(self, subject: str) -> Path:
        """Return the path of the lease for getting what `subject` names."""
        with self._explained():
            name = hashlib.sha256(subject.encode()).hexdigest()
            return self._own("leases") / name

    @contextlib.contextmanager
    def use(self, image: StoredImage) -> Iterator[None]:
        """Show that an image is in use, so that nobody removes it."""
        with contextlib.ExitStack() as stack:
            # Where it is only read nobody can be told, and another's uses cannot be in the way.
            with contextlib.suppress(OSError):
                stack.enter_context(self._presence(image))
                remove_dead(_uses(image))
            yield

    def users(self, image: StoredImage, patience: float) -> set[Path]:
        """Return the presences of those who use an image (see leases.living)."""
        return living(list_presences(_uses(image)), patience)

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
        with self._explained():
            publish_directory(made, self._own("images") / self._image_path(digest).name)

    def layer(self, digest: str) -> Path | None:
        """Return a layer that was kept."""
        for store in (*self._libraries, self):
            path = store._layers / digest.partition(":")[2]
            if path.exists():
                return path
        return None

    def keep_layer(self, made: Path, digest: str) -> Path:
        """Keep a layer, a checked file below work(). Returns its new place."""
        with self._explained():
            if self.is_group:
                made.chmod(0o664)
            return made.replace(self._own("layers") / digest.partition(":")[2])

    def build_layer(self, key: str) -> Path | None:
        """Return the directory with what the instruction of this key has changed, if it is here."""
        path = self._builds / key
        return path if path.is_dir() else None

    def publish_build_layer(self, made: Path, key: str) -> Path:
        """Put such a directory, made below work(), into the store."""
        with self._explained():
            publish_directory(made, self._own("builds") / key)
        return self._builds / key

    def remember(
        self, name: ImageReference | str, platform: Platform, digest: str, stamp: str = ""
    ) -> None:
        """Record what a name stands for now; `stamp` tells a file's content from a later one."""
        record = _ReferenceRecord(
            reference=str(name),
            platform=str(platform),
            digest=digest,
            resolved=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            stamp=stamp,
        )
        with self.work() as work:
            self._own("references")
            path = self._record_path(record.reference, platform)
            content = json.dumps(asdict(record)).encode()
            publish_file(path, content, work, mode=0o664 if self.is_group else None)

    def forget(self, image: StoredImage, references: Collection[str]) -> None:
        """Forget references to an image."""
        with self._explained():
            for path, record in self._records().items():
                if record.digest == image.digest and record.reference in references:
                    path.unlink(missing_ok=True)

    def _check_removable(self, image: StoredImage) -> None:
        """Raise StoreError if something of an image is another's, who has to remove it: then
        nothing may be begun."""
        places = (self._images, self._references, self.path / "work", image.path.parent)
        with self._explained():
            for place in (path for path in places if path.exists()):
                if not os.access(place, os.W_OK | os.X_OK):
                    raise _not_yours(image, place)
            if image.format is ImageFormat.DIRECTORY:
                for directory, _, _ in os.walk(image.path):
                    is_ours = os.lstat(directory).st_uid == os.geteuid()  # its mode can be changed
                    if not is_ours and not os.access(directory, os.W_OK | os.X_OK):
                        raise _not_yours(image, Path(directory))

    def remove(self, image: StoredImage) -> bool:
        """Remove an image, unless it is in use. Says whether it was removed. Raises StoreError if
        it is another's; then it stays as it is."""
        self._check_removable(image)
        with self._explained(), work_directory(self._own("work")) as work:
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
        with self._explained():
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
        with self._explained():
            place = self._own("quarantine") / f"{image.path.parent.name}.{presence_name()}"
            image.path.parent.rename(place)
            return place

    def _presence(self, image: StoredImage) -> contextlib.AbstractContextManager[None]:
        directory = _uses(image)
        if directory.parent.parent == self.path:
            self._own("uses")
            self._own(f"uses/{directory.name}")
        return presence(directory / presence_name())

    def _own(self, name: str) -> Path:
        """A directory of the store, made if need be so that the group can write to it, too."""
        path = self.path / name
        is_group = self.is_group
        try:
            path.mkdir()
        except FileExistsError:
            return path
        if is_group:
            path.chmod(0o2775)
        return path

    def _image_path(self, digest: str) -> Path:
        return self._images / f"{digest.partition(':')[2]}-{RECIPE}"

    def _record_path(self, reference: str, platform: Platform) -> Path:
        name = hashlib.sha256(
            f"{reference} {platform}".encode(errors="surrogateescape")
        ).hexdigest()
        return self._references / f"{name}.json"

    def _records(self) -> dict[Path, _ReferenceRecord]:
        paths = [self._references / name for name in _names(self._references)]
        return {path: record for path in paths if (record := self._record(path))}

    def _record(self, path: Path) -> _ReferenceRecord | None:
        facts = _read(path)
        return _ReferenceRecord(**facts) if facts else None

    def _check_owner(self) -> None:
        """Refuse a store into which anybody may put images that are run later."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_mode & stat.S_IWOTH:
                raise StoreError(
                    f"anybody may write to the store {self.path}",
                    "take that away (chmod o-w), or choose another with --udss-store",
                )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the filesystem says into what the person can do."""
        try:
            yield
        except OSError as error:
            where = place_words(error.errno, Path(error.filename or self.path))
            raise StoreError(
                f"the store {self.path} cannot be used: {error.strerror or error}"
                f"{where and f' ({where})'}",
                _ADVICE.get(error.errno or 0, "look at --udss-store and `cwl-udss doctor`"),
            ) from error


_ADVICE = {
    errno.ENOSPC: "free space there, or choose another place with --udss-store",
    errno.EDQUOT: "your quota is used up: free space, or choose another place with --udss-store",
    errno.EROFS: "it is read-only here: choose another place with --udss-store",
    errno.EACCES: "you may not write there: choose another place with --udss-store",
    errno.EPERM: "you may not write there: choose another place with --udss-store",
}


def _not_yours(image: StoredImage, place: Path) -> StoreError:
    owner = owner_name(place)
    return StoreError(
        f"the image {image.digest} cannot be removed by you: {place} is {owner}'s",
        f"ask {owner} to remove it",
    )


def _uses(image: StoredImage) -> Path:
    """Where the uses of an image are shown, in the store that has it."""
    directory = image.path.parent
    return directory.parent.parent / "uses" / directory.name


def _time(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _load(path: Path) -> StoredImage | None:
    """Read what the store knows of an image; None if it is not there (or no more)."""
    facts = _read(path / "image.json")
    if facts is None:
        return None
    config = parse_config((path / "config.json").read_bytes())
    format = ImageFormat(facts.pop("format"))
    return StoredImage(format=format, path=path / ROOT_NAMES[format], config=config, **facts)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return cast(dict[str, Any], json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{path} is damaged", "remove it, and pull the image again") from error


def _names(directory: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return os.listdir(directory)
    return []
