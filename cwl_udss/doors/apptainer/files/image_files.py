# SPDX-License-Identifier: Apache-2.0
"""`apptainer pull` and `apptainer build`: an image as one file, at the place that was said.

Of such a file the store knows which of its images it was made of, so that running it needs no
second conversion and no copy; for all others it is a whole image.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

from cwl_udss.doors.apptainer.command_line.parser import Given
from cwl_udss.doors.apptainer.session import Session
from cwl_udss.errors import ImageError, NoContainerImage, UdssError
from cwl_udss.images.formats.sif.reader import is_sif
from cwl_udss.images.in_place.root_part import root_part
from cwl_udss.images.layers.file_kinds import identify
from cwl_udss.images.libraries.place import STORE
from cwl_udss.images.links.link import placed_file, write_image_file
from cwl_udss.images.locations import public_name
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.pull import When
from cwl_udss.images.request import ImageRequest
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.written_files import WrittenFiles
from cwl_udss.images.transports import Kind, Transport, split_transport
from cwl_udss.settings.opening import open_store
from cwl_udss.steps.shared import Steps
from cwl_udss.web.downloads import download

_logger = logging.getLogger(__name__)

_LONGEST_BEGINNING = 4096
_WEB = ("http", "https")


def pull(given: Given, session: Session) -> int:
    """Be `apptainer pull [FILE] URI`. Raises UdssError."""
    source = given.words[-1]
    transport, _ = split_transport(source)
    if transport is None:
        raise UdssError("No transport type URI supplied", f"write docker://{source}")
    if transport.kind is Kind.NOTHING_OF_OURS:
        raise _not_ours(transport, source)
    _check_architecture(given)
    named = given.value("name") or (given.words[0] if len(given.words) == 2 else "")
    path = Path(_in_directory(given.value("dir"), named or file_name(source)))
    if os.path.lexists(path) and not given.flag("force"):
        raise UdssError(f'Image file already exists: "{path}" - will not overwrite')
    _write(source, transport, path, session)
    return 0


def build(given: Given, session: Session) -> int:
    """Be `apptainer build FILE SOURCE`. Raises UdssError."""
    target, source = given.words
    _check_architecture(given)
    if os.path.lexists(target) and not given.flag("force"):
        raise UdssError(
            f"While checking build target: build target '{target}' already exists. Use --force if "
            "you want to overwrite it"
        )
    transport, _ = split_transport(source)
    if transport is None:
        _write_local(Path(source.removeprefix("file://")), Path(target), session)
    elif transport.kind is Kind.NOTHING_OF_OURS:
        raise _not_ours(transport, source)
    else:
        _write(source, transport, Path(target), session)
    _logger.info("Build complete: %s", target)
    return 0


def file_name(source: str) -> str:
    """Return what `pull` calls the file of an image (apptainer's internal/pkg/util/uri,
    "GetName")."""
    scheme, _, rest = source.partition(":")
    last = rest.lstrip("/").rpartition("/")[2]
    if scheme in _WEB:
        return last
    name, colon, tag = last.partition(":")
    return f"{name}_{tag.split(':')[0].split(',')[0] if colon else 'latest'}.sif"


def _in_directory(directory: str, name: str) -> str:
    # As Go joins: an absolute name is one below the directory, too.
    return os.path.normpath(f"{directory}/{name}") if directory else name


def _check_architecture(given: Given) -> None:
    here = this_platform().architecture
    if given.value("arch") not in ("", here):
        raise UdssError(
            f"cwl-udss makes images for this machine ({here}), and none for {given.value('arch')}"
        )


def _not_ours(transport: Transport, source: str) -> UdssError:
    return UdssError(
        f"Unsupported transport type: {transport.name}: {source} {transport.problem}",
        "cwl-udss takes docker://, oras://, https://, docker-archive: and oci-archive:",
    )


def _write(source: str, transport: Transport, path: Path, session: Session) -> None:
    if transport.kind is Kind.URL:
        _download(source, path, session)
        return
    # What others have is not in the store, however it is used; and a registry is to be asked.
    stores = tuple(place for place in session.settings.library if place.naming == STORE)
    settings = replace(session.settings, library=stores, known_libraries=False)
    with Steps(settings, session.environment, session.home, When.ALWAYS) as steps:
        image = steps.image(ImageRequest(pull=source))
        name = source.removeprefix("docker://") if transport.name == "docker" else source
        _write_image(image, name, path, session)


def _write_image(image: StoredImage, name: str, path: Path, session: Session) -> None:
    store = open_store(session.settings)
    _logger.info("Creating SIF file...")
    write_image_file(image, name, path, store)
    if image.is_stored:
        with store.work() as work:
            WrittenFiles(store.path).keep(path, image.digest, work)


def _download(source: str, path: Path, session: Session) -> None:
    """Have the very file that is at a URL."""
    name = public_name(source)
    if session.settings.offline:
        raise ImageError(f"{name} is elsewhere, and the network may not be used")
    with placed_file(path) as made:
        download(source, made)
        _check_image_file(made, name)


def _check_image_file(path: Path, name: str) -> None:
    """Raise ImageError if a file is no image that can be run where it is."""
    if root_part(path, name, this_platform()) is None:
        with path.open("rb") as stream:
            kind = identify(stream.read(_LONGEST_BEGINNING))
        what = kind.name if kind else "something else"
        raise NoContainerImage(f"{name} is no SIF or SquashFS file but {what}", "look at its name")


def _write_local(source: Path, path: Path, session: Session) -> None:
    """Make an image file of a root directory, or of another image file."""
    if not source.exists():
        raise UdssError(
            f"Unable to build from {source}: unable to open file {source}: no such file or "
            "directory"
        )
    if source.is_file():
        _check_no_definition(source)
        _check_image_file(source, str(source))
        if is_sif(source):
            with placed_file(path) as made:
                shutil.copyfile(source, made)
            return
    with Steps(session.settings, session.environment, session.home, When.NEVER) as steps:
        name = str(source.absolute())
        _write_image(steps.image(ImageRequest(image_id=name)), name, path, session)


def _check_no_definition(source: Path) -> None:
    with source.open("rb") as stream:
        beginning = stream.read(_LONGEST_BEGINNING).lower()
    if b"\0" not in beginning and b"bootstrap:" in beginning.replace(b" ", b""):
        raise UdssError(
            f"cwl-udss does not build definition files ({source})",
            "write a Dockerfile, and type: podman build",
        )
