# SPDX-License-Identifier: Apache-2.0
"""What pyxis, NVIDIA's plugin of Slurm, calls for an image (`importer=` in plugstack.conf, since
pyxis 0.24; its importers/README.md): `get URI` prints the path of a SquashFS file as enroot makes
them, `release` is called when that is not needed any more, once or twice.

The file is made once for each image, and stays beside it in the store.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cwl_udss.errors import UdssError
from cwl_udss.filesystems.leases import turn
from cwl_udss.images.libraries.place import STORE
from cwl_udss.images.links.files import write_squashfs_file
from cwl_udss.images.request import ImageRequest
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.machine.user_directories import home_directory
from cwl_udss.settings.config import load_settings
from cwl_udss.settings.opening import open_store
from cwl_udss.settings.settings import Settings
from cwl_udss.staging import sync
from cwl_udss.steps.shared import Steps

_SCHEME = "docker://"
_FILE = "enroot.squashfs"
_USAGE = "usage: get docker://IMAGE, or release"


def run(name: str, arguments: Sequence[str]) -> int:
    """Be pyxis' importer. Returns the exit code."""
    environment, home = os.environ, home_directory()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("cwl_udss").setLevel(logging.INFO)
    try:
        match list(arguments):
            case ["get", uri]:
                print(squashfs_of(uri, load_settings({}, environment, home), environment, home))
            case ["release"]:
                pass
            case _:
                raise UdssError(f"{name} does not know {' '.join(arguments)!r}", _USAGE)
    except UdssError as error:
        from cwl_udss.doors.advice import as_variables

        print(f"cwl-udss: {as_variables(str(error))}", file=sys.stderr)
        return 1
    return 0


def squashfs_of(uri: str, settings: Settings, environment: Mapping[str, str], home: Path) -> Path:
    """Return a SquashFS file of an image, made if need be. Raises UdssError."""
    # What other programs have is none of the store's, and stays where it is.
    stores = tuple(place for place in settings.library if place.naming == STORE)
    settings = replace(settings, library=stores, known_libraries=False)
    store = open_store(settings)
    with Steps(settings, environment, home) as steps:
        image = steps.image(ImageRequest(pull=reference_of(uri)))
        with store.use(image):
            return _made(image, store)


def reference_of(uri: str) -> str:
    """Return what docker calls an image that enroot calls docker://[USER@][REGISTRY#]IMAGE[:TAG]
    (enroot's doc/cmd/import.md). Credentials are those of `docker login`. Raises UdssError."""
    if not uri.startswith(_SCHEME):
        raise UdssError(f"{uri} is not at a registry", f"write {_SCHEME}IMAGE")
    name = uri.removeprefix(_SCHEME)
    user, at, rest = name.partition("@")
    if at and not rest.startswith("sha256:") and "/" not in user and ":" not in user:
        name = rest
    registry, separator, image = name.partition("#")
    return f"{registry}/{image}" if separator else name


def _made(image: StoredImage, store: Store) -> Path:
    directory = image.path.parent
    if not os.access(directory, os.W_OK):  # of a store that is only read
        directory = store.path / "enroot" / image.name
    path = directory / _FILE
    lease = store.lease(f"{_FILE} {image.digest}")
    with turn(lease, path.exists, f"write {path}"):
        if not path.exists():
            with store.work() as work:
                write_squashfs_file(image, work / _FILE, work)
                sync(work / _FILE)
                directory.mkdir(parents=True, exist_ok=True)
                (work / _FILE).rename(path)
    return path
