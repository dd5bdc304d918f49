# SPDX-License-Identifier: Apache-2.0
"""All libraries of a run: the settings' in their order, then those that other programs are known to
have here."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection
from functools import partial

from cwl_udss.errors import ImageError, InvalidReference
from cwl_udss.images.libraries.known import KnownPlace
from cwl_udss.images.libraries.library import Found, Library
from cwl_udss.images.libraries.place import STORE, LibraryPlace
from cwl_udss.images.libraries.trust import Trust
from cwl_udss.images.locations import file_stamp
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.reference import ImageReference, parse_reference
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store

_logger = logging.getLogger(__name__)


class Libraries:
    """Finds images that others have, for any number of threads."""

    def __init__(
        self,
        places: Collection[LibraryPlace],
        known: Collection[KnownPlace],
        trust: Trust,
        store: Store,
    ) -> None:
        """Archives that are found are read into `store`."""
        others = [place for place in places if place.naming != STORE]
        self._libraries = [Library(place) for place in others]
        self._libraries += [
            Library(found.place, is_known=True) for found in known if found.place not in others
        ]
        self._trust = trust
        self._store = store

    def find(self, text: str, platform: Platform, *, only_by_digest: bool) -> StoredImage | None:
        """Return what a library has under the name that a person has written for an image; None if
        there is nothing that may be used. `only_by_digest` is for those who want what the name
        stands for now."""
        reference = _reference(text)
        asked = reference.digest if reference is not None else None
        if only_by_digest and asked is None:
            return None
        for library in self._libraries:
            found = library.find(text, reference, platform, partial(self._may_be_used, asked))
            image = None if found is None else found.image or self._read_archive(found, platform)
            if found is None or image is None:
                continue
            proof = f"by its digest {found.digest}" if found.digest else "by its name only"
            _logger.info("%s is %s of the library %s, %s", text, found.path, found.place, proof)
            return image
        return None

    def _may_be_used(self, asked: str | None, found: Found) -> bool:
        """Whether enough says which image it is; `asked` is the digest of a reference."""
        if asked is not None:
            return found.digest == asked
        if found.digest or self._trust is Trust.NAME:
            return True
        _logger.info(
            "%s in the library %s is not used: nothing proves which image it is "
            "(--udss-library-trust digest)",
            *(found.path, found.place),
        )
        return False

    def _read_archive(self, found: Found, platform: Platform) -> StoredImage | None:
        """The image in an archive, of the store, where it is read once; None if it is none."""
        from cwl_udss.images.convert import convert_in_turn
        from cwl_udss.images.sources.archives import read_image_file

        try:
            name, stamp = os.path.realpath(found.path), f"load {file_stamp(found.path)}"
            image = self._store.find(name, platform, stamp)
            if image is None:
                with self._store.work() as work:
                    source = read_image_file("load", found.path, name, platform, work)
                    image = convert_in_turn(source, self._store)
                self._store.remember(name, platform, image.digest, stamp)
        except (ImageError, OSError) as error:
            _logger.warning("passed over in the library %s: %s", found.place, error)
            return None
        return image


def _reference(text: str) -> ImageReference | None:
    with contextlib.suppress(InvalidReference):
        return parse_reference(text)
    return None
