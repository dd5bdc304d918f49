# SPDX-License-Identifier: Apache-2.0
"""udocker's command line."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cwl_udss.doors.apptainer.command_line.option import Option
from cwl_udss.doors.apptainer.command_line.parser import Given, UsageError, parse
from cwl_udss.doors.apptainer.session import Session
from cwl_udss.doors.udocker import options as table
from cwl_udss.doors.udocker.containers import Containers, Created
from cwl_udss.doors.udocker.running import run_in
from cwl_udss.errors import UdssError
from cwl_udss.images.libraries.place import STORE
from cwl_udss.images.links.link import spellings
from cwl_udss.images.maintenance import remove_named
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.pull import Images, When
from cwl_udss.images.request import ImageRequest
from cwl_udss.images.store.image import StoredImage
from cwl_udss.settings.config import load_settings
from cwl_udss.settings.opening import open_store
from cwl_udss.steps.shared import Steps

VERSION = "1.3.17"
"""Of the udocker whose ways these are."""
_STANDARD_INPUT = "-"


class Command(NamedTuple):
    """A command: how it is called, and what does it."""

    options: Sequence[Option]
    run: Callable[[Given, Session], int]
    least: int
    most: int | None
    stops: bool = False


def run(name: str, arguments: Sequence[str], environment: Mapping[str, str], home: Path) -> int:
    """Be `udocker` with these arguments. Returns the exit code."""
    try:
        given = parse(table.GLOBAL, arguments, {}, least=0, stops=True)
        _log(given)
        if given.flag("version"):
            return _version(given)
        command = given.words[0] if given.words else "help"
        if given.flag("help") or command == "help" or "--help" in given.words[1:2]:
            print(f"{name} by cwl-udss: {', '.join(COMMANDS)}. See docs/doors.md of cwl-udss.")
            return 0
        if command not in COMMANDS:
            raise UdssError(f"cwl-udss has no {name} {command}", f"it has {', '.join(COMMANDS)}")
        options, run, least, most, stops = COMMANDS[command]
        given = parse(options, given.words[1:], {}, least=least, most=most, stops=stops)
        settings = load_settings({}, environment, home)
        return run(given, Session(settings=settings, environment=environment, home=home))
    except UsageError as error:
        print(f"Error: {error} (this {name} is cwl-udss)", file=sys.stderr)
        return 1
    except UdssError as error:
        from cwl_udss.doors.advice import as_variables

        print(f"Error: {as_variables(str(error))}", file=sys.stderr)
        return getattr(error, "exit_code", 1)


def _log(given: Given) -> None:
    logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
    level = logging.WARNING if given.flag("quiet") else logging.INFO
    logging.getLogger("cwl_udss").setLevel(logging.DEBUG if given.flag("debug") else level)
    if not given.flag("debug"):
        logging.getLogger("cwl_udss.steps.shared").setLevel(logging.WARNING)


def _pull(given: Given, session: Session) -> int:
    # What others have is not in the store, however it is used.
    stores = tuple(place for place in session.settings.library if place.naming == STORE)
    settings = replace(session.settings, library=stores, known_libraries=False)
    with Steps(settings, session.environment, session.home, When.ALWAYS) as steps:
        steps.image(ImageRequest(pull=given.words[0]))
    return 0


def _create(given: Given, session: Session) -> int:
    containers = Containers(session.environment, session.home)
    name = given.value("name")
    if name and not given.flag("force"):
        containers.check_name(name)
    with session.steps() as steps:
        image = steps.image(_request(given.words[0]))
    print(_created(containers, image, given.words[0], name).identifier)
    return 0


def _created(containers: Containers, image: StoredImage, asked: str, name: str) -> Created:
    return containers.create(image.digest or str(image.path), asked, name)


def _request(name: str) -> ImageRequest:
    return ImageRequest(image_id=name)


def _run(given: Given, session: Session) -> int:
    containers = Containers(session.environment, session.home)
    asked, *words = given.words
    name, pull = given.value("name"), given.value("pull")
    created = containers.find(name) if pull == "reuse" else None
    created = created or containers.find(asked)
    if name and created is None:
        containers.check_name(name)
    when = {"never": When.NEVER, "always": When.ALWAYS}.get(pull, When.MISSING)
    with session.steps(when) as steps:
        request = _request(created.digest if created else asked)
        if created is not None and name and created.name != name:
            containers.rename(created, name)
        elif created is None and name and not given.flag("rm"):
            _created(containers, steps.image(request), asked, name)
        try:
            return run_in(request, words, given, session, steps)
        finally:
            if created is not None and given.flag("rm"):
                containers.remove(created)


def _ps(given: Given, session: Session) -> int:
    print(f"{'CONTAINER ID':<36} P M {'NAMES':<18} {'IMAGE':<20}")
    for created in Containers(session.environment, session.home).all():
        names = f"['{created.name}']" if created.name else ""
        print(f"{created.identifier:<36} . R {names:<18} {created.image:<20}")
    return 0


def _remove(given: Given, session: Session) -> int:
    containers = Containers(session.environment, session.home)
    status = 0
    for name in given.words:
        created = containers.find(name)
        if created is None:
            print(f"Error: invalid container id {name}", file=sys.stderr)
            status = 1
        else:
            containers.remove(created)
    return status


def _images(given: Given, session: Session) -> int:
    print("REPOSITORY")
    for image in open_store(session.settings).images():
        for reference in image.references:
            print(f"{spellings(reference)[0]:<60} .")
    return 0


def _remove_image(given: Given, session: Session) -> int:
    store = open_store(session.settings)
    remove_named(Images(store, session.environment, session.home), store, given.words[0])
    return 0


def _load(given: Given, session: Session) -> int:
    path = given.value("input") or (given.words[0] if given.words else _STANDARD_INPUT)
    store = open_store(session.settings)
    with store.work() as work, session.steps() as steps:
        file = _spooled(path, work)
        image = steps.image(ImageRequest(load=str(file)))
        for name in _archive_names(file):
            store.remember(name, this_platform(), image.digest)
            print(name)
    return 0


def _archive_names(path: Path) -> list[str]:
    """What an archive of `docker save` calls its first image."""
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("manifest.json")
            manifest = json.loads(member.read()) if member else []
            return [str(name) for name in manifest[0].get("RepoTags") or ()]
    except (KeyError, IndexError, ValueError, AttributeError, tarfile.TarError, OSError):
        return []


def _import(given: Given, session: Session) -> int:
    path, *names = given.words
    if not names and not given.flag("tocontainer"):
        raise UdssError("must specify tarfile and image:tag", "udocker import FILE NAME:TAG")
    store = open_store(session.settings)
    with store.work() as work, session.steps() as steps:
        file = _spooled(path, work)
        image = steps.image(ImageRequest(import_=str(file), image_id=names[0] if names else ""))
        if given.flag("tocontainer"):
            containers = Containers(session.environment, session.home)
            print(_created(containers, image, path, given.value("name")).identifier)
    return 0


def _spooled(path: str, work: Path) -> Path:
    if path != _STANDARD_INPUT:
        return Path(path).absolute()
    with (work / "input.tar").open("wb") as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
    return work / "input.tar"


def _inspect(given: Given, session: Session) -> int:
    created = Containers(session.environment, session.home).find(given.words[0])
    with session.steps(When.NEVER) as steps:
        image = steps.image(_request(created.digest if created else given.words[0]))
        if given.flag("path"):
            print(steps.root(image).here)
            return 0
    path = image.path.parent / "config.json"
    document = json.loads(path.read_bytes()) if image.is_stored else {}
    print(json.dumps(document, sort_keys=True, indent=4))
    return 0


def _version(given: Given, session: Session | None = None) -> int:
    print(f"version: {VERSION}\ntarball: \ntarball_release: ")
    return 0


def _nothing(given: Given, session: Session) -> int:
    return 0


def _setup(given: Given, session: Session) -> int:
    for name in given.words:
        if Containers(session.environment, session.home).find(name) is None:
            raise UdssError(f"invalid container id {name}", "see: udocker ps")
    return 0


COMMANDS: Mapping[str, Command] = {
    "pull": Command(table.PULL, _pull, 1, 1),
    "create": Command(table.CREATE, _create, 1, 1),
    "run": Command(table.RUN, _run, 1, None, stops=True),
    "ps": Command(table.PS, _ps, 0, 0),
    "rm": Command(table.REMOVE, _remove, 1, None),
    "images": Command(table.IMAGES, _images, 0, 0),
    "rmi": Command(table.REMOVE, _remove_image, 1, 1),
    "load": Command(table.LOAD, _load, 0, 1),
    "import": Command(table.IMPORT, _import, 1, 2),
    "inspect": Command(table.INSPECT, _inspect, 1, 1),
    "setup": Command(table.SETUP, _setup, 0, 1),
    "install": Command(table.INSTALL, _nothing, 0, 0),
    "version": Command(table.NOTHING, _version, 0, 0),
}
