# SPDX-License-Identifier: Apache-2.0
"""Images at URLs, other than by a registry's API: SIF and SquashFS files, archives.

Apptainer's users have them at depot.galaxyproject.org, and as blobs of a registry, whose addresses
say the digest (Seqera's community containers).
"""

from __future__ import annotations

import logging

from cwl_udss.errors import DownloadError, ImageError, InvalidImage
from cwl_udss.images.adopt import ReceivedFile, adopt, make_image, received_root
from cwl_udss.images.locations import address_digest, public_name
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.sources.archives import read_image_file
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.web import downloads

_logger = logging.getLogger(__name__)

_REMEDY = "download it again; if it stays so, ask whose it is"


def download_image(url: str, kind: str, store: Store, platform: Platform) -> StoredImage:
    """Return the image that is at a URL, which is remembered by that; `kind` as with archives.

    Raises ImageError or StoreError.
    """
    name, expected = public_name(url), address_digest(url)
    image = store.find_digest(expected) if expected else None
    if image is None:
        image = _download(url, kind, store, platform)
    else:
        _logger.info("%s is up to date (%s)", name, expected)
    store.remember(name, platform, image.digest)
    return image


def _download(url: str, kind: str, store: Store, platform: Platform) -> StoredImage:
    name = public_name(url)
    with store.work() as work:
        try:
            found = downloads.download(url, work / "download", algorithm="sha256")
        except DownloadError as error:
            raise ImageError(error.problem, error.advice) from error
        digest = found.checksum.replace("$", ":")
        if address_digest(url) not in (None, digest):
            raise InvalidImage(f"{name} is not what its address says, but {digest}", _REMEDY)
        file = ReceivedFile(path=found.path, name=name, digest=digest, remedy=_REMEDY)
        root = received_root(file, platform)
        if root is None:
            source = read_image_file(kind, found.path, name, platform, work)
            return make_image(source, store, platform)
        return adopt(file, root, store)
