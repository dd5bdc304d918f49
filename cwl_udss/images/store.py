# SPDX-License-Identifier: Apache-2.0
"""The store of converted images: the one place that knows its paths.

    store/images/SHA256-RECIPE/   one image: rootfs/, image.json, config.json (the registry's bytes)
    store/references/HASH.json    what a reference stood for when it was last resolved
    store/builds/KEY/             what an instruction of a Dockerfile has changed
    store/work/                   what is being made, by a directory per process

Correct without locks: an image's name says its content, and appears by rename when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from cwl_udss.errors import StoreError
from cwl_udss.images.manifest import ImageConfig, Platform, is_digest, parse_config
from cwl_udss.images.reference import ImageReference
from cwl_udss.staging import publish_directory, publish_file, work_directory

# Part of every image's name. To be raised when conversion makes something else of the same layers.
RECIPE = 1


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image that is ready to run."""

    digest: str
    """Of the platform's manifest, "sha256:…"."""
    root: Path
    """The root filesystem, a directory."""
    config: ImageConfig
    size: int
    """Bytes of all files."""
    entries: int
    references: tuple[str, ...] = ()
    """What it was asked for as; only set by Store.images()."""


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
    """A directory of images, shared by any number of processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._images = path / "images"
        self._references = path / "references"
        self._builds = path / "builds"
        self._work = path / "work"

    def find(
        self, name: ImageReference | str, platform: Platform, stamp: str = ""
    ) -> StoredImage | None:
        """Return the image that a name stands for, a (qualified) reference or any other; None if it
        is not here, or was remembered with another stamp."""
        with self._explained():
            if isinstance(name, ImageReference) and name.digest is not None:
                image = self._image(name.digest)
                if image is not None:
                    return image
            record = self._record(self._record_path(str(name), platform))
            return self._image(record.digest) if record and record.stamp == stamp else None

    def find_digest(self, digest: str) -> StoredImage | None:
        """Return the image with the platform manifest of this digest, None if it is not here."""
        with self._explained():
            return self._image(digest) if is_digest(digest) else None

    def images(self) -> list[StoredImage]:
        """Return all images, each with the references that stand for it."""
        with self._explained():
            references: dict[str, list[str]] = {}
            for record in self._records().values():
                references.setdefault(record.digest, []).append(record.reference)
            found = []
            for name in sorted(_names(self._images)):
                image = _load(self._images / name)
                if image:
                    names = tuple(sorted(references.get(image.digest, ())))
                    found.append(replace(image, references=names))
            return found

    @contextlib.contextmanager
    def work(self) -> Iterator[Path]:
        """A directory to make an image in, gone afterwards."""
        with self._explained():
            self._check_owner()
            with work_directory(self._work) as path:
                yield path

    def publish(self, made: Path, digest: str, config: bytes, *, size: int, entries: int) -> None:
        """Put the image whose root filesystem is `made`/rootfs (below work()) into the store."""
        facts = {"digest": digest, "size": size, "entries": entries}
        (made / "config.json").write_bytes(config)
        (made / "image.json").write_text(json.dumps(facts), encoding="utf-8")
        publish_directory(made, self._image_path(digest))

    def build_layer(self, key: str) -> Path | None:
        """Return the directory with what the instruction of this key has changed, if it is here."""
        path = self._builds / key
        return path if path.is_dir() else None

    def publish_build_layer(self, made: Path, key: str) -> Path:
        """Put such a directory, made below work(), into the store."""
        with self._explained():
            publish_directory(made, self._builds / key)
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
        path = self._record_path(record.reference, platform)
        with self._explained():
            publish_file(path, json.dumps(asdict(record)).encode())

    def remove(self, image: StoredImage, references: Collection[str]) -> None:
        """Forget the references, and remove the image when none is left that stands for it."""
        with self._explained():
            left = 0
            for path, record in self._records().items():
                if record.digest != image.digest:
                    continue
                if record.reference in references:
                    path.unlink(missing_ok=True)
                else:
                    left += 1
            if not left:
                # Gone for everybody at once by the rename; taking it apart needs time.
                with work_directory(self._work) as work, contextlib.suppress(FileNotFoundError):
                    self._image_path(image.digest).rename(work / "removed")

    def _image_path(self, digest: str) -> Path:
        return self._images / f"{digest.partition(':')[2]}-{RECIPE}"

    def _record_path(self, reference: str, platform: Platform) -> Path:
        name = hashlib.sha256(f"{reference} {platform}".encode()).hexdigest()
        return self._references / f"{name}.json"

    def _image(self, digest: str) -> StoredImage | None:
        return _load(self._image_path(digest))

    def _records(self) -> dict[Path, _ReferenceRecord]:
        paths = [self._references / name for name in _names(self._references)]
        return {path: record for path in paths if (record := self._record(path))}

    def _record(self, path: Path) -> _ReferenceRecord | None:
        facts = _read(path)
        return _ReferenceRecord(**facts) if facts else None

    def _check_owner(self) -> None:
        """Refuse a store into which anybody may put images that are run later."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o755)
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
            raise StoreError(
                f"the store {self.path} cannot be used: {error.strerror or error}",
                _ADVICE.get(error.errno or 0, "look at --udss-store and `cwl-udss doctor`"),
            ) from error


_ADVICE = {
    errno.ENOSPC: "free space there, or choose another place with --udss-store",
    errno.EDQUOT: "your quota is used up: free space, or choose another place with --udss-store",
    errno.EROFS: "it is read-only here: choose another place with --udss-store",
    errno.EACCES: "you may not write there: choose another place with --udss-store",
    errno.EPERM: "you may not write there: choose another place with --udss-store",
}


def _load(path: Path) -> StoredImage | None:
    """Read what the store knows of an image; None if it is not there (or no more)."""
    facts = _read(path / "image.json")
    if facts is None:
        return None
    config = parse_config((path / "config.json").read_bytes())
    return StoredImage(root=path / "rootfs", config=config, **facts)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return cast(dict[str, Any], json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{path} is damaged", "remove it, and pull the image again") from error


def _names(directory: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        # A name with a leading dot is a file being written.
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    return []
