# SPDX-License-Identifier: Apache-2.0
"""Images that are there: `images`, `tag`, `rmi`, `history`."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from cwl_udss.doors.docker.errors import NoSuchObject, Program, UsageError, error_line
from cwl_udss.doors.docker.images.lookup import find_image, ids_of, looks_like_id
from cwl_udss.doors.docker.options import IMAGE_PRUNE, IMAGES, NOTHING, RMI
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.docker.templates import as_table, formatted
from cwl_udss.doors.docker.words import (
    ALIAS,
    LOCALHOST,
    NONE,
    ago,
    shown_names,
    shown_reference,
    size_words,
)
from cwl_udss.doors.table import short
from cwl_udss.errors import StoreError, UdssError
from cwl_udss.images.maintenance import remove_unused
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.reference import DOCKER_HUB, parse_reference
from cwl_udss.images.store.image import StoredImage

_COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_TITLES = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")


def list_images(session: Session, arguments: list[str]) -> int:
    """Print the images of the store."""
    parser = DoorParser(IMAGES, f"{session.program.value} images [OPTIONS] [NAME]")
    parser.add_argument("name", nargs="?")
    options = parser.parse(arguments)
    wanted = [options.name] if options.name else []
    for text in options.filter or ():
        name, _, value = text.partition("=")
        if name not in ("reference", "dangling"):
            raise UsageError(f"invalid filter {name!r}", "there is reference")
        wanted += [value] if name == "reference" else []
    rows = [
        row
        for image in session.store.images()
        for row in _rows(image, session.program, whole=bool(options.no_trunc))
        if all(_fits(row, text) for text in wanted)
    ]
    if options.quiet:
        print("".join(f"{id}\n" for id in dict.fromkeys(row["ID"] for row in rows)), end="")
    elif options.format == "json" and session.program is Program.PODMAN:
        print(json.dumps(_podman_facts(rows), indent=4))
    elif options.format:
        print(formatted(options.format, rows), end="")
    else:
        titles, columns = list(_TITLES), list(_COLUMNS)
        if options.digests:
            titles.insert(2, "DIGEST")
            columns.insert(2, "Digest")
        lines = [[str(row[name]) for name in columns] for row in rows]
        print(as_table([*([] if options.noheading else [titles]), *lines]), end="")
    return 0


def _rows(image: StoredImage, program: Program, *, whole: bool) -> Iterator[dict[str, Any]]:
    """An image's lines: one for each name, and for each of its ids."""
    created = _created(image)
    pairs = [(one.name, one.tag or NONE) for one in shown_names(image, program)]
    for id in ids_of(image):
        for name, tag in dict.fromkeys(pairs or [(NONE, NONE)]):
            yield {
                "Repository": name,
                "Tag": tag,
                "ID": f"sha256:{id}" if whole else short(id),
                "Id": id,
                "Digest": image.digest,
                "Created": int(created),
                "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(created)),
                "CreatedSince": ago(created),
                "Size": size_words(image.size),
                "Bytes": image.size,
                "Names": [f"{name}:{tag}"],
                "Containers": 0,
            }


def _podman_facts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `podman images --format json` has: an object for each image, with all of its names."""
    images: dict[str, dict[str, Any]] = {}
    for row in rows:
        names = images.get(row["Id"], {}).get("Names", [])
        if row["Repository"] != NONE:
            names = [*names, *row["Names"]]
        digests = [f"{name.rpartition(':')[0]}@{row['Digest']}" for name in names]
        images[row["Id"]] = {
            **{name: row[name] for name in ("Id", "Digest", "Created", "Containers")},
            "Names": names,
            "RepoTags": names,
            "RepoDigests": list(dict.fromkeys(digests)),
            "Size": row["Bytes"],
            "Dangling": not names,
        }
    return list(images.values())


def _created(image: StoredImage) -> float:
    document = json.loads((image.path.parent / "config.json").read_bytes())
    text = str(document.get("created") or "")
    try:  # with nine digits Python before 3.11 does not read it
        return datetime.fromisoformat(f"{text[:19]}+00:00").timestamp()
    except ValueError:
        return image.path.stat().st_mtime


def _fits(row: dict[str, Any], wanted: str) -> bool:
    """Whether a line is of a name, which may be written in any of its ways, or of a pattern."""
    if looks_like_id(wanted) and row["Id"].startswith(wanted.removeprefix("sha256:")):
        return True
    last = wanted.rpartition("/")[2]
    if any(character in wanted for character in "*?["):
        whole = f"{row['Repository']}:{row['Tag']}"
        return fnmatch.fnmatch(whole, wanted) or fnmatch.fnmatch(row["Repository"], wanted)
    prefix = f"{LOCALHOST}/"
    shown = shown_reference(wanted.removeprefix(prefix), Program.PODMAN)
    name = row["Repository"].removeprefix(prefix)
    own = shown_reference(f"{name}:{row['Tag']}", Program.PODMAN)
    if shown is None or own is None:
        return False
    named = ":" in last or "@" in last
    if "@" in last:
        return shown.name == own.name and wanted.endswith(row["Digest"])
    return shown.name == own.name and (not named or shown.tag == own.tag)


def exists(session: Session, arguments: list[str]) -> int:
    """Say by the exit code whether an image is in the store."""
    parser = DoorParser(NOTHING, f"{session.program.value} image exists IMAGE")
    parser.add_argument("name")
    try:
        find_image(session, parser.parse(arguments).name)
    except NoSuchObject:
        return 1
    return 0


def tag(session: Session, arguments: list[str]) -> int:
    """Give an image more names."""
    parser = DoorParser(NOTHING, f"{session.program.value} tag IMAGE NAME [NAME...]")
    parser.add_argument("image")
    parser.add_argument("names", nargs="+")
    options = parser.parse(arguments)
    image = find_image(session, options.image)
    for name in options.names:
        give_name(session, image, name)
    return 0


def give_name(session: Session, image: StoredImage, name: str) -> None:
    """Have an image found by a name from now on. Raises InvalidReference, StoreError."""
    for spelled in _spellings(name):
        session.store.remember(spelled, this_platform(), image.digest)


def _spellings(name: str) -> list[str]:
    """A name in all ways in which it is looked for."""
    reference = parse_reference(name)
    full = f"{reference.name}:{reference.tag or 'latest'}" if not reference.digest else name
    spelled = [name, full]
    if reference.registry in ("", LOCALHOST):
        bare = replace(reference, registry="")
        others = (bare, replace(bare, registry=LOCALHOST), bare.on(DOCKER_HUB))
        spelled += [f"{one.name}:{one.tag or 'latest'}" for one in others if not one.digest]
        spelled += [str(one) for one in others if one.digest]
    return list(dict.fromkeys(spelled))


def untag(session: Session, arguments: list[str]) -> int:
    """Forget names of an image."""
    parser = DoorParser(NOTHING, f"{session.program.value} untag IMAGE [NAME...]")
    parser.add_argument("image")
    parser.add_argument("names", nargs="*")
    options = parser.parse(arguments)
    image = find_image(session, options.image)
    names = options.names or image.references
    session.store.forget(image, {spelled for name in names for spelled in _spellings(name)})
    return 0


def remove(session: Session, arguments: list[str]) -> int:
    """Forget names of images, and remove those that have none left."""
    parser = DoorParser(RMI, f"{session.program.value} rmi [OPTIONS] IMAGE [IMAGE...]")
    parser.add_argument("names", nargs="*")
    options = parser.parse(arguments)
    names = list(options.names)
    if options.all:
        names += [image.digest for image in session.store.images()]
    code = 0
    for name in names:
        try:
            _remove(session, name)
        except NoSuchObject:
            if session.program is Program.PODMAN:
                error = NoSuchObject(f"{name}: image not known")
            if not options.ignore:
                print(error_line(session.program, session.command, error), file=sys.stderr)
                code = 1
        except UdssError as error:
            print(error_line(session.program, session.command, error), file=sys.stderr)
            code = 2 if session.program is Program.PODMAN else 1
    return code


def _remove(session: Session, name: str) -> None:
    image = find_image(session, name)
    gone = set(image.references)
    if not looks_like_id(name):
        gone &= set(_spellings(name))
    rest = {one for one in image.references if not one.startswith(ALIAS)} - gone
    if not rest:
        remove_unused(session.store, image)
        gone = set(image.references)
    session.store.forget(image, gone)
    print(f"Untagged: {name}")
    if not rest:
        print(f"Deleted: {image.digest}")


def prune(session: Session, arguments: list[str]) -> int:
    """Remove images that have no name, or all that no run uses."""
    usage = f"{session.program.value} image prune [OPTIONS]"
    options = DoorParser(IMAGE_PRUNE, usage).parse(arguments)
    for image in session.store.images():
        if options.all or not shown_names(image, session.program):
            with contextlib.suppress(StoreError):
                remove_unused(session.store, image)
                session.store.forget(image, set(image.references))
                print(image.digest if session.program is Program.DOCKER else image.digest[7:])
    return 0


def history(session: Session, arguments: list[str]) -> int:
    """Print how an image was made, as its configuration says."""
    parser = DoorParser(NOTHING, f"{session.program.value} history IMAGE")
    parser.add_argument("name")
    image = find_image(session, parser.parse(arguments).name)
    document = json.loads((image.path.parent / "config.json").read_bytes())
    rows = [["IMAGE", "CREATED BY", "COMMENT"]]
    for number, step in enumerate(reversed(document.get("history") or [])):
        id = short(ids_of(image)[0]) if not number else "<missing>"
        rows.append([id, str(step.get("created_by", "")), str(step.get("comment", ""))])
    print(as_table(rows), end="")
    return 0
