# SPDX-License-Identifier: Apache-2.0
"""Whether an image can be removed: not by those whose it is not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cwl_udss.errors import StoreError
from cwl_udss.filesystems.filesystem import owner_name
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.store.image import StoredImage


def check_removable(image: StoredImage, directories: Iterable[Path]) -> None:
    """Raise StoreError if something of an image is another's, who has to remove it: then nothing
    may be begun. `directories` are those of the store that are written to."""
    for place in (path for path in (*directories, image.path.parent) if path.exists()):
        if not os.access(place, os.W_OK | os.X_OK):
            raise _not_yours(image, place)
    if image.format is ImageFormat.DIRECTORY:
        for directory, _, _ in os.walk(image.path):
            is_ours = os.lstat(directory).st_uid == os.geteuid()  # its mode can be changed
            if not is_ours and not os.access(directory, os.W_OK | os.X_OK):
                raise _not_yours(image, Path(directory))


def _not_yours(image: StoredImage, place: Path) -> StoreError:
    owner = owner_name(place)
    return StoreError(
        f"the image {image.digest} cannot be removed by you: {place} is {owner}'s",
        f"ask {owner} to remove it",
    )
