# SPDX-License-Identifier: Apache-2.0
"""An image that is in the store, as its directory says."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, cast

from cwl_udss.errors import StoreError
from cwl_udss.files.checksums import name_of
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.manifests.manifest import ImageConfig, parse_config
from cwl_udss.records import record

ROOT_NAMES = {ImageFormat.DIRECTORY: "rootfs", ImageFormat.SQUASHFS: "rootfs.squashfs"}
"""What a root filesystem is called in its image's directory."""


@record(frozen=True, kw_only=True)
class StoredImage:
    """An image that is there."""

    digest: str
    """Of the platform's manifest, "sha256:…"; "" if nothing proves one."""
    format: ImageFormat
    path: Path
    """The root filesystem: a directory, or a file with SquashFS in it."""
    offset: int = 0
    """Where in that file SquashFS begins."""
    stamp: str | None = None
    """What is used where it is, and is none of the store's, has one: what tells it from what may be
    there later, "" of a directory. See locations.file_stamp()."""
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

    @property
    def is_stored(self) -> bool:
        """Whether it is an image of a store."""
        return self.stamp is None

    @property
    def name(self) -> str:
        """What it is called in directories that hold something of each image."""
        if self.stamp is None:
            return self.path.parent.name
        return name_of(f"{self.path}\0{self.stamp}")

    @property
    def identity(self) -> str:
        """What is another if the image is; "" if nothing tells."""
        return self.digest or (f"{self.path} {self.stamp}" if self.stamp else "")


def uses_of(image: StoredImage) -> Path:
    """Where the uses of an image are shown, in the store that has it."""
    directory = image.path.parent
    return directory.parent.parent / "uses" / directory.name


def time_of(path: Path) -> float | None:
    """Return when a file was changed last, None if it is not there."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def load_image(path: Path) -> StoredImage | None:
    """Read what the store knows of an image; None if it is not there (or no more)."""
    facts = read_facts(path / "image.json")
    if facts is None:
        return None
    config = parse_config((path / "config.json").read_bytes())
    format = ImageFormat(facts.pop("format"))
    return StoredImage(format=format, path=path / ROOT_NAMES[format], config=config, **facts)


def read_facts(path: Path) -> dict[str, Any] | None:
    """Read one of the store's small files, None if it is not there. Raises StoreError."""
    try:
        return cast(dict[str, Any], json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{path} is damaged", "remove it, and pull the image again") from error


def names_in(directory: Path) -> list[str]:
    """Return what is in a directory, which need not be there."""
    with contextlib.suppress(FileNotFoundError):
        return os.listdir(directory)
    return []


def image_in_place(
    path: Path,
    format: ImageFormat,
    *,
    stamp: str,
    offset: int = 0,
    size: int = 0,
    config: bytes = b"{}",
    digest: str = "",
) -> StoredImage:
    """Return an image that is used where it is, with its configuration."""
    return StoredImage(
        digest=digest,
        format=format,
        path=path.absolute(),
        offset=offset,
        stamp=stamp,
        config=parse_config(config),
        size=size,
        entries=0,
        content="",
    )
