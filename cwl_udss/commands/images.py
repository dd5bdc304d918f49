# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss images`: pull, list, remove, verify and carry images (see images_arguments.py)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit

from rich.filesize import decimal

from cwl_udss.commands.printing.images import print_images
from cwl_udss.engine.startup.pure import prefer_python_modules
from cwl_udss.errors import DownloadError, UdssError
from cwl_udss.images.adopt import may_be_image
from cwl_udss.images.bundle import export_images, import_images
from cwl_udss.images.formats.sif.reader import is_sif, read_sif
from cwl_udss.images.formats.sif.signatures import signatures
from cwl_udss.images.in_place.found import found_image
from cwl_udss.images.layers.file_kinds import DOCUMENT, LONGEST_BEGINNING, WEB_PAGE, identify
from cwl_udss.images.libraries.place import STORE
from cwl_udss.images.locations import (
    DOCUMENT_ENDINGS,
    IMAGE_ENDINGS,
    address_digest,
    file_name,
    is_path,
    local_path,
    public_name,
)
from cwl_udss.images.maintenance import prune, remove_named, verify
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.pull import Images, When
from cwl_udss.images.request import ImageRequest
from cwl_udss.images.store.image import StoredImage
from cwl_udss.machine.user_directories import home_directory
from cwl_udss.settings.opening import open_store
from cwl_udss.settings.settings import Settings
from cwl_udss.steps.shared import Steps
from cwl_udss.web.addresses import is_remote
from cwl_udss.web.downloads import beginning


def run_images(options: argparse.Namespace, settings: Settings) -> int:
    """Run the command that was chosen. Returns the exit code."""
    return _COMMANDS[options.images](options, settings)


def _pull(options: argparse.Namespace, settings: Settings) -> int:
    failures = 0
    # What others have is not in the store, however it is used.
    stores = tuple(place for place in settings.library if place.naming == STORE)
    settings = replace(settings, library=stores, known_libraries=False)
    with Steps(settings, os.environ, home_directory(), When.ALWAYS) as steps:
        for request in _requests(options, settings, steps):
            try:
                # A directory that is used where it is has none.
                print(f"{steps.image(request).digest or '-'} {request.name}")
            except UdssError as error:  # the other images are wanted all the same
                print(f"cwl-udss: {error}", file=sys.stderr)
                failures += 1
    return 1 if failures else 0


def _requests(options: argparse.Namespace, settings: Settings, steps: Steps) -> list[ImageRequest]:
    """What is asked for, of workflows the images; each once."""
    requests: list[ImageRequest] = []
    for name in options.names:
        if _is_document_at(name, settings) if is_remote(name) else _is_document(name):
            prefer_python_modules("cwltool")
            # cwltool takes half a second, and may only be imported after the line above.
            from cwl_udss.engine.documents import load_document  # noqa: PLC0415

            load_document(steps, name, options.overrides, offline=settings.offline)
            requests += steps.expected
        elif is_path(name):
            requests.append(ImageRequest(image_id=file_name(name)))
        else:
            requests.append(ImageRequest(pull=name))
    return list(dict.fromkeys(requests))


def _is_document_at(url: str, settings: Settings) -> bool:
    """Whether a CWL document is at a URL, and no image. Where nothing else says so its beginning
    is looked at."""
    address = urlsplit(url)
    if address.fragment or address.path.endswith(DOCUMENT_ENDINGS):
        return True
    if address.path.lower().endswith(IMAGE_ENDINGS) or address_digest(url):
        return False
    if _images(settings).find_name(public_name(url)) is not None:
        return False
    if settings.offline:
        return True
    try:
        found = beginning(url, LONGEST_BEGINNING)
    except DownloadError:  # of which the download of an image says more than cwltool does
        return False
    return not may_be_image(found) and identify(found) is not WEB_PAGE


def _is_document(name: str) -> bool:
    """Whether it is the path of a CWL document, whatever that is called."""
    path = name.partition("#")[0]
    if path.endswith(DOCUMENT_ENDINGS):
        return os.path.exists(path)
    if not is_path(name) or not os.path.isfile(path):
        return False
    with open(path, "rb") as stream:
        return identify(stream.read(LONGEST_BEGINNING)) is DOCUMENT


def _list(options: argparse.Namespace, settings: Settings) -> int:
    images = open_store(settings).images()
    if not images and not options.json:
        print(f"no images in {settings.store}", file=sys.stderr)
        return 0
    print_images(images, options.filter, as_json=options.json)
    return 0


def _inspect(options: argparse.Namespace, settings: Settings) -> int:
    image = _in_place(options.name, settings) or _images(settings).stored(file_name(options.name))
    facts = {**asdict(image), "format": image.format.value, "path": str(image.path)}
    if not image.is_stored and is_sif(image.path):
        facts["signatures"] = signatures(read_sif(image.path, options.name))
    print(json.dumps(facts, indent=2))
    return 0


def _in_place(name: str, settings: Settings) -> StoredImage | None:
    """An image at a path that is used where it is; None if it would be in the store."""
    path = local_path(name, Path()) if is_path(name) else None
    if path is None or not os.path.exists(path) or not found_image(path, name, this_platform()):
        return None
    with Steps(settings, os.environ, home_directory(), When.NEVER) as steps:
        return steps.image(ImageRequest(image_id=str(path)))


def _remove(options: argparse.Namespace, settings: Settings) -> int:
    store, images = open_store(settings), _images(settings)
    for name in options.names:
        remove_named(images, store, file_name(name))
    return 0


def _prune(options: argparse.Namespace, settings: Settings) -> int:
    if options.older_than is None and options.max_size is None:
        raise UdssError("prune what?", "give it --older-than, --max-size or both")
    store = open_store(settings)
    freed, staying = 0, 0
    for removal in prune(store, older_than=options.older_than, most_bytes=options.max_size):
        image = removal.image
        if removal.problem:
            print(f"cwl-udss: {removal.problem}", file=sys.stderr)
            staying += 1
        else:
            print(f"removed {image.digest} {' '.join(image.references)}")
            freed += image.size
    print(f"{decimal(freed)} freed", file=sys.stderr)
    return 1 if staying else 0


def _verify(options: argparse.Namespace, settings: Settings) -> int:
    bad = 0
    for found in verify(open_store(settings)):
        if found.problem:
            print(f"PROBLEM {found.image.digest}: {found.problem}")
        elif found.quarantined is not None:
            print(f"DAMAGED {found.image.digest}: put aside, {found.quarantined}")
        else:
            print(f"ok {found.image.digest}")
            continue
        bad += 1
    return 1 if bad else 0


def _export(options: argparse.Namespace, settings: Settings) -> int:
    with Steps(settings, os.environ, home_directory(), When.NEVER) as steps:
        requests = _requests(options, settings, steps)
        carried = list(_carried(requests, steps, _images(settings)))
        export_images(carried, this_platform(), open_store(settings), options.file)
    return 0


def _carried(
    requests: list[ImageRequest], steps: Steps, images: Images
) -> Iterator[tuple[StoredImage, set[str]]]:
    """What is asked for, each with the names by which a run may ask for it, and what Dockerfiles
    begin with: what has been built is found by that."""
    for request in requests:
        if request.pull:
            image = images.stored(request.pull)
            # Every one of them.
            names = images.references(request.pull) & set(image.references) or {request.pull}
        else:
            image, names = steps.image(request), set()
        if not image.is_stored:
            raise UdssError(f"{image.path} is used where it is", "carry it as any other directory")
        yield image, names | ({request.image_id} - {""})
    for name, image in steps.pulled().items():
        if image.is_stored:  # else it is in a library, and carried by whoever carries that
            yield image, {name}


def _import(options: argparse.Namespace, settings: Settings) -> int:
    for image in import_images(options.file, open_store(settings)):
        print(image.digest)
    return 0


def _link(options: argparse.Namespace, settings: Settings) -> int:
    # No other command writes such files.
    from cwl_udss.commands.links import link_images  # noqa: PLC0415

    store = open_store(settings)
    return link_images(options, store, _images(settings))


def _images(settings: Settings) -> Images:
    return Images(open_store(settings), os.environ, home_directory())


_COMMANDS: Mapping[str, Callable[[argparse.Namespace, Settings], int]] = {
    "pull": _pull,
    "list": _list,
    "inspect": _inspect,
    "rm": _remove,
    "prune": _prune,
    "verify": _verify,
    "export": _export,
    "import": _import,
    "link": _link,
}
