# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss images link`: gives images of the store to other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cwl_udss.errors import ImageError
from cwl_udss.images.links.link import check_linkable, link_image, spellings
from cwl_udss.images.locations import is_path
from cwl_udss.images.pull import Images
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store


def link_images(options: argparse.Namespace, store: Store, images: Images) -> int:
    """Do what the command line says. Returns the exit code. Raises ImageError or StoreError."""
    check_linkable(options.naming)
    wanted: list[tuple[StoredImage, Sequence[str]]] = []
    for name in options.names:
        image = images.stored(name)
        is_digest = not images.references(name) & set(image.references)
        found = _spelled(image) if is_digest else [(image, (name,))]
        if not found:
            raise ImageError(f"{name} has no name but its digest", "name it by its reference")
        wanted += found
    if not options.names:
        wanted = [each for image in store.images() for each in _spelled(image)]
    failures = 0
    for image, names in wanted:
        linked = list(
            link_image(
                *(image, names, options.naming, options.directory, store),
                replaces=options.force,
            )
        )
        for link in linked:
            if link.is_new:
                print(link.path)
            else:
                print(f"{link.path} is there already, and stays (see --force)", file=sys.stderr)
        if not linked:
            print(f"{names[0]} has no name by {options.naming.name}", file=sys.stderr)
            failures += bool(options.names)
    return 1 if failures else 0


def _spelled(image: StoredImage) -> list[tuple[StoredImage, Sequence[str]]]:
    """An image by each of its names, in all ways in which people write that."""
    # Files and URLs are remembered by their names as well.
    names = [name for name in image.references if not is_path(name) and "://" not in name]
    return [(image, spellings(name)) for name in names]
