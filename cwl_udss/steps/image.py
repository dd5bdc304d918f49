# SPDX-License-Identifier: Apache-2.0
"""Which image a step is run in, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cwl_udss.errors import SandboxError
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.store.image import StoredImage, image_in_place
from cwl_udss.images.store.store import Store
from cwl_udss.sandbox import RootFilesystem


@dataclass(frozen=True, kw_only=True)
class StepImage:
    """An image of the store, by its digest; or one that is used where it is (see StoredImage)."""

    digest: str
    path: str = ""
    """Empty if it is the store's; then only the digest counts."""
    format: str = ""
    stamp: str = ""
    offset: int = 0
    size: int = 0

    @property
    def described(self) -> str:
        """For records: by digest, if anything proves one."""
        return self.digest or f"{self.path}, by name only"

    def in_place(self) -> StoredImage:
        """Return the image that has a path, with nothing of its configuration."""
        return image_in_place(
            Path(self.path),
            ImageFormat(self.format),
            stamp=self.stamp,
            offset=self.offset,
            size=self.size,
        )


def step_image(image: StoredImage) -> StepImage:
    """Return what a step's description says of an image."""
    if image.stamp is None:
        return StepImage(digest=image.digest)
    return StepImage(
        digest=image.digest,
        path=str(image.path),
        format=image.format.value,
        stamp=image.stamp,
        offset=image.offset,
        size=image.size,
    )


def step_root(image: StepImage, store: Store, images: NodeImages) -> RootFilesystem:
    """Return a step's root filesystem on this node. Raises SandboxError or StoreError."""
    if image.path:
        return images.root(image.in_place())
    store.refresh()
    found = store.find_digest(image.digest)
    if found is None:
        raise SandboxError(
            f"the image {image.digest} is not in the store {store.path} as this node sees it",
            "name a store on a filesystem that all nodes share, with --udss-store",
        )
    return images.root(found)
