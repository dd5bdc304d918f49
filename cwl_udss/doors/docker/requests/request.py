# SPDX-License-Identifier: Apache-2.0
"""What the options of `run` ask for, and what the image adds to it."""

from __future__ import annotations

import argparse
import json
import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from cwl_udss.doors.container import Container
from cwl_udss.doors.docker.errors import ContainerError, Program, UsageError
from cwl_udss.doors.docker.requests.environment import given_variables, proxies
from cwl_udss.doors.docker.requests.limits import cpu_limit, memory_limit
from cwl_udss.doors.docker.requests.users import home_of, inner_user
from cwl_udss.doors.docker.requests.volumes import Mounts, parse_mounts
from cwl_udss.images.manifests.command import image_environment
from cwl_udss.images.manifests.manifest import ImageConfig
from cwl_udss.machine.quantities import parse_size
from cwl_udss.sandbox import Memory, RootFilesystem

_HOST_NETWORKS = frozenset(
    ("", "host", "bridge", "default", "private", "slirp4netns", "pasta", "podman")
)


def requested_container(
    options: argparse.Namespace,
    config: ImageConfig,
    root: RootFilesystem,
    *,
    id: str,
    program: Program,
    environment: Mapping[str, str],
) -> Container:
    """Return the container that was asked for, of an image. Raises UdssError for what is not
    possible."""
    user = inner_user(options.user or config.user, options.userns or "", root.here)
    home = home_of(user[0], root.here)
    mounts = parse_mounts(options.volume or (), options.mount or (), options.tmpfs or (), program)
    host_name = options.hostname or id[:12]
    variables = _environment(options, config, environment)
    own = {"HOSTNAME": host_name, "HOME": home, **_own_variables(options, program)}
    return Container(
        command=_command(options, config),
        environment={**own, **variables},
        working_directory=_working_directory(options, config),
        home=home,
        binds=mounts.binds,
        memory=(*mounts.memory, *_memory(options, mounts, root)),
        user=user,
        network=_has_network(options.network or ""),
        host_name=host_name,
        hosts=tuple(map(_host_line, options.add_host or ())),
        resolver=_resolver(options),
        shared_memory_bytes=_size(options.shm_size, "--shm-size"),
        memory_limit=memory_limit(options.memory),
        cpu_limit=cpu_limit(options.cpus),
        writable_root=not options.read_only,
        devices=_devices(options.device or ()),
    )


def _command(options: argparse.Namespace, config: ImageConfig) -> tuple[str, ...]:
    """The entry point, which the caller may replace, or have none of by "", and what is after it;
    with another the image's own arguments are not meant (docker-run(1), --entrypoint)."""
    given = tuple(options.arguments)
    if options.entrypoint is None:
        full = (*config.entrypoint, *(given or config.command))
    else:
        full = (*_entry_point(options.entrypoint), *given)
    if not full:
        raise ContainerError("no command specified", "the image has none of its own")
    return full


def _entry_point(text: str) -> tuple[str, ...]:
    """One word, or several as JSON (podman-run(1))."""
    if text.startswith("["):
        try:
            return tuple(map(str, json.loads(text)))
        except ValueError as error:
            raise UsageError(f"--entrypoint {text!r} is no list in JSON", str(error)) from error
    return (text,) if text else ()


def _environment(
    options: argparse.Namespace, config: ImageConfig, environment: Mapping[str, str]
) -> dict[str, str]:
    own = dict(environment) if options.env_host else {}
    given = given_variables(options.env or (), options.env_file or (), environment)
    passed = {} if options.http_proxy is False else proxies(environment)
    variables = {**own, **image_environment(config), **passed, **given}
    return {name: v for name, v in variables.items() if name not in (options.unsetenv or ())}


def _own_variables(options: argparse.Namespace, program: Program) -> dict[str, str]:
    """What the program itself sets."""
    own = {"container": "podman"} if program is Program.PODMAN else {}
    return {**own, "TERM": os.environ.get("TERM", "xterm")} if options.tty else own


def _working_directory(options: argparse.Namespace, config: ImageConfig) -> str:
    directory = options.workdir or config.working_directory or "/"
    if not directory.startswith("/"):
        directory = posixpath.join(config.working_directory or "/", directory)
    return posixpath.normpath(directory)


def _memory(options: argparse.Namespace, mounts: Mounts, root: RootFilesystem) -> list[Memory]:
    """Volumes without a name, where nothing can be written otherwise; and what podman has written
    to in a root filesystem that is read-only (podman-run(1), --read-only-tmpfs)."""
    places = [
        path
        for path in mounts.anonymous
        if options.read_only or not os.path.isdir(f"{root.here}{path}")
    ]
    if options.read_only:
        places += ["/run"]
    taken = {bind.destination for bind in mounts.binds} | {one.path for one in mounts.memory}
    return [Memory(path=path) for path in dict.fromkeys(places) if path not in taken]


def _has_network(name: str) -> bool:
    name = name.partition(":")[0]
    if name == "none":
        return False
    if name in _HOST_NETWORKS:
        return True
    raise ContainerError(
        f"unable to find network with name or ID {name}: network not found",
        "there is that of this machine (host, bridge), and none",
    )


def _host_line(text: str) -> str:
    name, _, address = text.partition("=" if "=" in text else ":")
    if not name or not address:
        raise UsageError(f"bad format for add-host: {text!r}", "write NAME:ADDRESS")
    return f"{'127.0.0.1' if address == 'host-gateway' else address} {name}"


def _resolver(options: argparse.Namespace) -> bytes | None:
    if not options.dns and not options.dns_search:
        return None
    lines = [f"nameserver {address}" for address in options.dns or ()]
    if not lines:
        lines = [line for line in _host_lines() if not line.startswith("search")]
    if options.dns_search:
        lines.append(f"search {' '.join(options.dns_search)}")
    return "".join(f"{line}\n" for line in lines).encode()


def _host_lines() -> list[str]:
    try:
        return Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        return []


def _size(text: str | None, name: str) -> int | None:
    try:
        return parse_size(text) if text else None
    except ValueError as error:
        raise UsageError(f"{name} {text!r}", str(error)) from error


def _devices(words: Sequence[str]) -> tuple[str, ...]:
    devices = []
    for word in words:
        source, _, rest = word.partition(":")
        target = rest.partition(":")[0]
        if target.startswith("/") and target != source:
            raise UsageError(f"--device {word!r}", "a device has the same name inside")
        if not source.startswith("/dev/") or not os.path.exists(source):
            raise ContainerError(f"stat {source}: no such file or directory")
        devices.append(source)
    return tuple(devices)
