# SPDX-License-Identifier: Apache-2.0
"""`podman inspect`: all that is known of containers and images, as JSON or by a template."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cwl_udss.doors.docker.containers.ending import find
from cwl_udss.doors.docker.errors import NoSuchObject, Program, UsageError, error_line
from cwl_udss.doors.docker.images.lookup import find_image, ids_of
from cwl_udss.doors.docker.options import INSPECT
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.docker.templates import formatted
from cwl_udss.doors.docker.words import shown_reference, timestamp
from cwl_udss.doors.table import EXITED, Entry, short
from cwl_udss.images.store.image import StoredImage

_Look = Callable[[Session, str], Mapping[str, Any]]


def inspect(session: Session, arguments: list[str]) -> int:
    """Print what is known of containers or images of these names."""
    return _inspect(session, arguments, (_container, _image))


def inspect_containers(session: Session, arguments: list[str]) -> int:
    """Print what is known of containers."""
    return _inspect(session, arguments, (_container,))


def inspect_images(session: Session, arguments: list[str]) -> int:
    """Print what is known of images."""
    return _inspect(session, arguments, (_image,))


def _inspect(session: Session, arguments: list[str], looks: Sequence[_Look]) -> int:
    options = _parse(session, arguments)
    if options.type in ("container", "image"):
        looks = (_container,) if options.type == "container" else (_image,)
    elif options.type not in (None, "all"):
        raise UsageError(f"there are no objects of the type {options.type!r} here")
    found, code = [], 0
    for name in options.names:
        try:
            found.append(_look(session, name, looks))
        except NoSuchObject as error:
            # docker inspect's own words, without whose they are: its callers look at the status.
            print(error_line(session.program, session.command, error), file=sys.stderr)
            code = 125 if session.program is Program.PODMAN else 1
    if options.format and options.format != "json":
        print(formatted(options.format, found), end="")
    elif found or session.program is Program.DOCKER:
        print(json.dumps(found, indent=4, ensure_ascii=False))
    return code


def _parse(session: Session, arguments: list[str]) -> argparse.Namespace:
    usage = f"{session.program.value} {session.command} [OPTIONS] NAME [NAME...]"
    parser = DoorParser(INSPECT, usage)
    parser.add_argument("names", nargs="+")
    return parser.parse(arguments)


def _look(session: Session, name: str, looks: Sequence[_Look]) -> Mapping[str, Any]:
    missing = NoSuchObject(f"No such object: {name}")
    for look in looks:
        try:
            return look(session, name)
        except NoSuchObject as error:
            missing = error if len(looks) == 1 else missing
    raise missing


def _container(session: Session, name: str) -> Mapping[str, Any]:
    return container_facts(session, find(session, name))


def container_facts(session: Session, entry: Entry) -> Mapping[str, Any]:
    """Return what is known of a container, in docker's words."""
    state = session.table.state(entry)
    slash = "/" if session.program is Program.DOCKER else ""
    return {
        "Id": entry.id,
        "Created": timestamp(entry.created),
        "Path": entry.command[0] if entry.command else "",
        "Args": list(entry.command[1:]),
        "State": {
            "Status": state.status,
            "Running": state.is_running,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": state.is_over_memory,
            "Dead": False,
            "Pid": state.first or 0 if state.is_running else 0,
            "ExitCode": state.exit_code or 0,
            "Error": state.problem,
            "StartedAt": timestamp(state.started),
            "FinishedAt": timestamp(state.finished if state.status == EXITED else None),
        },
        "Image": entry.digest,
        "ImageName": entry.image,
        "Name": f"{slash}{entry.name}",
        "RestartCount": 0,
        "Driver": "cwl-udss",
        "Platform": "linux",
        "HostConfig": {
            "NetworkMode": "host" if entry.network else "none",
            "AutoRemove": entry.remove,
            "Binds": [
                f"{mount['Source']}:{mount['Destination']}:{'rw' if mount['RW'] else 'ro'}"
                for mount in entry.mounts
            ],
        },
        "Mounts": list(entry.mounts),
        "Config": {
            "Hostname": entry.environment.get("HOSTNAME", short(entry.id)),
            "User": ":".join(map(str, entry.user)) if entry.user else "",
            "Env": [f"{name}={value}" for name, value in entry.environment.items()],
            "Cmd": list(entry.command),
            "Image": entry.image,
            "WorkingDir": entry.working_directory,
            "Entrypoint": None,
            "Labels": dict(entry.labels),
        },
        "NetworkSettings": {
            "IPAddress": "",
            "Ports": {},
            "Networks": {"host" if entry.network else "none": {"IPAddress": "", "Gateway": ""}},
        },
    }


def _image(session: Session, name: str) -> Mapping[str, Any]:
    return image_facts(find_image(session, name), session.program)


def image_facts(image: StoredImage, program: Program) -> Mapping[str, Any]:
    """Return what is known of an image, in docker's words: mostly its own configuration's."""
    document = json.loads((image.path.parent / "config.json").read_bytes())
    references = [shown_reference(name, program) for name in image.references]
    named = [reference for reference in references if reference is not None]
    tags = [f"{one.name}:{one.tag}" for one in named if one.tag]
    digests = [f"{one.name}@{image.digest}" for one in named]
    id = ids_of(image)[0]
    config = document.get("config") or {}
    return {
        "Id": f"sha256:{id}" if program is Program.DOCKER else id,
        "Digest": image.digest,
        "RepoTags": list(dict.fromkeys(tags)),
        "RepoDigests": list(dict.fromkeys(digests)),
        "Parent": "",
        "Comment": str(document.get("comment", "")),
        "Created": str(document.get("created") or timestamp(None)),
        "Author": str(document.get("author", "")),
        "Config": {
            **{"User": "", "Env": [], "Entrypoint": None, "Cmd": None, "WorkingDir": ""},
            "Labels": None,
            **config,
        },
        "Labels": config.get("Labels"),
        "User": config.get("User", ""),
        "Architecture": document.get("architecture", ""),
        "Os": document.get("os", ""),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": "cwl-udss", "Data": {"Path": str(image.path)}},
        "RootFS": {
            "Type": "layers",
            "Layers": (document.get("rootfs") or {}).get("diff_ids", []),
        },
        "History": document.get("history", []),
    }
