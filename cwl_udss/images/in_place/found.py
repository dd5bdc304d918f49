# SPDX-License-Identifier: Apache-2.0
"""Root filesystems that others have made, used where they are: in SIF and SquashFS files, and in
directories.
"""

from __future__ import annotations

from pathlib import Path

from cwl_udss.errors import ImageError
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.in_place.root_part import SILENT_CONFIGURATION, root_part
from cwl_udss.images.locations import file_stamp
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.store.image import StoredImage, image_in_place


def found_image(path: Path, name: str, platform: Platform) -> StoredImage | None:
    """Return the image that is at a path, to be used where it is; None if that is an archive, or
    what else has to be read first. `name` is for messages. Raises ImageError."""
    try:
        if path.is_dir():
            return _directory(path)
        stamp = file_stamp(path)
        if not path.is_file():  # a named pipe would be waited for
            raise ImageError(f"{name} is neither a file nor a directory", "look at its path")
    except OSError as error:
        problem = f"{name} cannot be read: {system_words(error)}"
        raise ImageError(problem, "look at its path") from error
    root = root_part(path, name, platform)
    if root is None:
        return None
    return image_in_place(
        path,
        ImageFormat.SQUASHFS,
        stamp=stamp,
        offset=root.offset,
        size=root.size,
        config=root.config,
    )


def _directory(path: Path) -> StoredImage | None:
    from cwl_udss.images.sources.archives import check_root_directory, is_image_directory

    if is_image_directory(path):
        return None
    check_root_directory(path)
    return image_in_place(path, ImageFormat.DIRECTORY, stamp="", config=SILENT_CONFIGURATION)
