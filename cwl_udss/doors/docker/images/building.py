# SPDX-License-Identifier: Apache-2.0
"""`podman build`: an image of a Dockerfile and a directory."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cwl_udss.doors.docker.errors import ContainerError, Program, UsageError
from cwl_udss.doors.docker.images.listing import give_name
from cwl_udss.doors.docker.images.lookup import (
    check_platform,
    ids_of,
    images_of,
    node_images,
    say_progress,
)
from cwl_udss.doors.docker.options import BUILD
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.images.dockerfiles.build import build_image
from cwl_udss.images.dockerfiles.context import Context, Given, read_ignored
from cwl_udss.images.pull import When

_STANDARD_INPUT = "-"


def build(session: Session, arguments: list[str]) -> int:
    """Build an image from a Dockerfile."""
    parser = DoorParser(BUILD, f"{session.program.value} build [OPTIONS] DIRECTORY")
    parser.add_argument("context", nargs="?")
    options = parser.parse(arguments)
    check_platform(options.platform)
    say_progress(options)
    text, context = _sources(session, options)
    given = Given(
        context=context,
        arguments=_given_values(options.build_arg or (), session.environment),
        target=options.target or "",
    )
    with node_images(session) as node:
        image = build_image(
            text,
            images=images_of(session),
            store=session.store,
            node=node,
            runtime=session.runtime,
            name=" ".join(options.tag or ["a Dockerfile"]),
            when=When.ALWAYS if options.pull else When.MISSING,
            given=given,
        )
    for name in options.tag or ():
        give_name(session, image, name)
    id = ids_of(image)[0]
    if options.iidfile:
        Path(options.iidfile).write_text(f"sha256:{id}")
    print(f"sha256:{id}" if session.program is Program.DOCKER else id)
    return 0


def _sources(session: Session, options: argparse.Namespace) -> tuple[str, Context | None]:
    """The text of the Dockerfile, and what it may copy from."""
    if options.context is None and session.program is Program.DOCKER:
        raise UsageError('"docker build" requires 1 argument', "name a directory, as in: build .")
    if options.context == _STANDARD_INPUT:
        return sys.stdin.read(), None
    directory = Path(options.context or ".").absolute()
    if not directory.is_dir():
        raise ContainerError(
            f"unable to prepare context: path {options.context!r} is no directory",
            "what is at a URL, or in an archive, is to be had before",
        )
    path = _dockerfile(session, options, directory)
    text = sys.stdin.read() if path is None else path.read_text(encoding="utf-8")
    own = [path.with_name(f"{path.name}.dockerignore")] if path else []
    places = [*own, directory / ".containerignore", directory / ".dockerignore"]
    return text, Context(directory, read_ignored(places))


def _dockerfile(session: Session, options: argparse.Namespace, directory: Path) -> Path | None:
    """Where the Dockerfile is, None for standard input."""
    if options.file == _STANDARD_INPUT:
        return None
    names = ("Dockerfile", "Containerfile")
    if session.program is Program.PODMAN:
        names = names[::-1]
    places = [directory / name for name in names]
    if options.file:
        # Of the caller's directory for docker; podman also looks in the context.
        places = [Path(options.file), directory / options.file]
    for path in places:
        if path.is_file():
            return path
    raise ContainerError(f"failed to read dockerfile: open {places[0]}: no such file or directory")


def _given_values(words: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """NAME=VALUE, or NAME for the caller's own variable, if there is one."""
    given = {}
    for word in words:
        name, sign, value = word.partition("=")
        if sign or name in environment:
            given[name] = value if sign else environment[name]
    return given
