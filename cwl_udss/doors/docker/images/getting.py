# SPDX-License-Identifier: Apache-2.0
"""Images that come: `pull`, `load`, `import`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cwl_udss.doors.docker.errors import ContainerError, Program, UsageError
from cwl_udss.doors.docker.images.listing import give_name
from cwl_udss.doors.docker.images.lookup import check_platform, ids_of, pulls, say_progress
from cwl_udss.doors.docker.options import IMPORT, LOAD, PULL
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.docker.words import shown_reference
from cwl_udss.images.adopt import make_image
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.pull import When
from cwl_udss.images.request import ImageRequest
from cwl_udss.images.sources.archives import archived_image, read_image_file
from cwl_udss.images.sources.image_files import open_tar
from cwl_udss.images.sources.image_signs import DOCKER_LISTING
from cwl_udss.images.store.image import StoredImage

_STANDARD_INPUT = ("-", "")


def pull(session: Session, arguments: list[str]) -> int:
    """Have images in the store as their registries have them now."""
    parser = DoorParser(PULL, f"{session.program.value} pull [OPTIONS] IMAGE [IMAGE...]")
    parser.add_argument("names", nargs="+")
    options = parser.parse(arguments)
    check_platform(options.platform)
    say_progress(options)
    if session.program is Program.DOCKER and len(options.names) > 1:
        raise UsageError('"docker pull" requires exactly 1 argument')
    when = pulls(options.policy or "always")
    with session.steps(when) as steps:
        for name in options.names:
            image = steps.image(ImageRequest(pull=name))
            if session.program is Program.PODMAN:
                print(ids_of(image)[0] if image.is_stored else image.digest)
                continue
            shown = shown_reference(name, Program.PODMAN)
            if not options.quiet:
                print(f"Digest: {image.digest}\nStatus: {name} is in the store of cwl-udss")
            print(shown or name)
    return 0


def load(session: Session, arguments: list[str]) -> int:
    """Have the images of an archive in the store, by the names that they have in it."""
    options = DoorParser(LOAD, f"{session.program.value} load [OPTIONS]").parse(arguments)
    check_platform(options.platform)
    if options.input:
        images = _loaded(session, Path(options.input), options.input)
    else:
        with session.store.work() as work:
            path = work / "archive"
            with path.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy, 1 << 20)
            if not path.stat().st_size:
                raise ContainerError("nothing came on standard input", "give it an archive")
            images = _loaded(session, path, "standard input")
    for image, names in images:
        for name in names:
            give_name(session, image, name)
            print(f"Loaded image: {shown_reference(name, session.program) or name}")
        if not names:
            print(f"Loaded image ID: sha256:{ids_of(image)[0]}")
    return 0


def _loaded(session: Session, path: Path, name: str) -> list[tuple[StoredImage, list[str]]]:
    """The images of an archive, each with its names in it."""
    platform, store = this_platform(), session.store
    if path.is_dir():
        with store.work() as work:
            source = read_image_file("load", path, name, platform, work)
            return [(make_image(source, store, platform), [])]
    found = []
    with store.work() as work:
        file = open_tar(path, name, work)
        listing: list[dict[str, Any]] = [{}]
        if file.size(DOCKER_LISTING) is not None:
            listing = json.loads(b"".join(file.read(DOCKER_LISTING)))
        for number, entry in enumerate(listing):
            source = archived_image(file, platform, f"@{number}" if len(listing) > 1 else "")
            names = list(entry.get("RepoTags") or ())
            found.append((make_image(source, store, platform), names))
    return found


def import_image(session: Session, arguments: list[str]) -> int:
    """Have a root filesystem in the store as an image."""
    usage = f"{session.program.value} import [OPTIONS] FILE|- [NAME]"
    parser = DoorParser(IMPORT, usage)
    parser.add_argument("file")
    parser.add_argument("name", nargs="?")
    options = parser.parse(arguments)
    check_platform(options.platform)
    say_progress(options)
    with session.steps(When.MISSING) as steps, NamedTemporaryFile() as spooled:
        location = options.file
        if location in _STANDARD_INPUT:
            shutil.copyfileobj(sys.stdin.buffer, spooled, 1 << 20)
            spooled.flush()
            location = spooled.name
        image = steps.image(ImageRequest(import_=location, base=Path.cwd()))
    if options.name:
        give_name(session, image, options.name)
    print(f"sha256:{ids_of(image)[0]}")
    return 0
