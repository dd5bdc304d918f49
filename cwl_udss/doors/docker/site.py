# SPDX-License-Identifier: Apache-2.0
"""What these programs say of themselves, and logging in at registries."""

from __future__ import annotations

import base64
import contextlib
import getpass
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import psutil

import cwl_udss
from cwl_udss.doors.docker.errors import ContainerError, Program, UsageError
from cwl_udss.doors.docker.options import INFO, LOGIN, LOGOUT
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.docker.templates import formatted
from cwl_udss.doors.table import EXITED, RUNNING
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.reference import DOCKER_HUB

# Recent ones, as callers compare them; what we are is said beside them.
VERSIONS = {Program.PODMAN: "5.4.2", Program.DOCKER: "27.5.1"}
_API_VERSIONS = {Program.PODMAN: "5.4.2", Program.DOCKER: "1.47"}
_HUB_KEY = "https://index.docker.io/v1/"


def version_line(session: Session, arguments: list[str]) -> int:
    """Print the version in a line, whose words callers take apart."""
    number = VERSIONS[session.program]
    if session.program is Program.DOCKER:
        print(f"Docker version {number}, build cwl-udss-{cwl_udss.__version__}")
    else:
        print(f"podman version {number}")
    return 0


def version(session: Session, arguments: list[str]) -> int:
    """Print the versions of what would be client and server."""
    usage = f"{session.program.value} version [OPTIONS]"
    options = DoorParser(INFO, usage).parse(arguments)
    here = this_platform()
    one = {
        "Version": VERSIONS[session.program],
        "APIVersion": _API_VERSIONS[session.program],
        "ApiVersion": _API_VERSIONS[session.program],
        "GitCommit": f"cwl-udss {cwl_udss.__version__}",
        "GoVersion": f"none: Python {platform.python_version()}",
        "Os": here.os,
        "Arch": here.architecture,
        "OsArch": f"{here.os}/{here.architecture}",
        "KernelVersion": platform.release(),
    }
    facts = {"Client": one, "Server": one}
    if options.format:
        print(formatted(options.format, [facts]), end="")
        return 0
    for name in ("Client", "Server"):
        engine = f"{session.program.value.capitalize()} Engine (cwl-udss {cwl_udss.__version__})"
        print(f"{name}: {engine}")
        for title in ("Version", "APIVersion", "GitCommit", "OsArch"):
            print(f" {f'{title}:':<13}{one[title]}")
        print()
    return 0


def info(session: Session, arguments: list[str]) -> int:
    """Print what this machine and the store are."""
    options = DoorParser(INFO, f"{session.program.value} info [OPTIONS]").parse(arguments)
    facts = _facts(session)
    if options.format:
        print(formatted(options.format, [facts]), end="")
        return 0
    for name, value in facts.items():
        if not isinstance(value, dict):
            print(f"{name}: {value}")
    return 0


def _facts(session: Session) -> dict[str, Any]:
    states = [session.table.state(entry).status for entry in session.table.all()]
    here, cores = this_platform(), len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total
    number = VERSIONS[session.program]
    root = str(session.settings.store)
    return {
        "ID": "cwl-udss",
        "ServerVersion": number,
        "ClientInfo": {"Version": number, "Debug": False},
        "Name": platform.node(),
        "Containers": len(states),
        "ContainersRunning": states.count(RUNNING),
        "ContainersPaused": 0,
        "ContainersStopped": states.count(EXITED),
        "Images": len(session.store.images()),
        "Driver": "cwl-udss",
        "DockerRootDir": root,
        "OperatingSystem": f"cwl-udss {cwl_udss.__version__}",
        "OSType": here.os,
        "Architecture": platform.machine(),
        "KernelVersion": platform.release(),
        "NCPU": cores,
        "MemTotal": memory,
        "CgroupDriver": "none",
        "SecurityOptions": ["name=seccomp,profile=cwl-udss", "name=rootless"],
        "host": {
            "arch": here.architecture,
            "os": here.os,
            "cpus": cores,
            "memTotal": memory,
            "hostname": platform.node(),
            "kernel": platform.release(),
            "security": {"rootless": os.getuid() != 0, "seccompEnabled": True},
        },
        "store": {"graphRoot": root, "graphDriverName": "cwl-udss"},
        "version": {"Version": number, "APIVersion": _API_VERSIONS[session.program]},
    }


def login(session: Session, arguments: list[str]) -> int:
    """Keep a password for a registry, where all programs of containers look for one."""
    parser = DoorParser(LOGIN, f"{session.program.value} login [OPTIONS] [REGISTRY]")
    parser.add_argument("registry", nargs="?", default=DOCKER_HUB)
    options = parser.parse(arguments)
    path = _credentials_file(session, options.authfile)
    content = _read(path)
    key = _HUB_KEY if options.registry in (DOCKER_HUB, "index.docker.io") else options.registry
    if options.get_login:
        known = content.get("auths", {}).get(key, {}).get("auth", "")
        if not known:
            raise ContainerError(f"not logged into {options.registry}")
        print(base64.b64decode(known).decode().partition(":")[0])
        return 0
    user = options.username or _asked("Username: ")
    if options.password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    else:
        password = options.password or _asked("Password: ", hidden=True)
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    content.setdefault("auths", {})[key] = {"auth": encoded}
    _write(path, content)
    print(f"Login Succeeded: kept in {path}, and tried with the first image (cwl-udss)")
    return 0


def logout(session: Session, arguments: list[str]) -> int:
    """Forget the password for a registry."""
    parser = DoorParser(LOGOUT, f"{session.program.value} logout [OPTIONS] [REGISTRY]")
    parser.add_argument("registry", nargs="?", default=DOCKER_HUB)
    options = parser.parse(arguments)
    path = _credentials_file(session, options.authfile)
    content = _read(path)
    known = content.get("auths", {})
    hub = options.registry in (DOCKER_HUB, "index.docker.io")
    for key in [*known] if options.all else [_HUB_KEY if hub else options.registry]:
        known.pop(key, None)
    _write(path, content)
    print(f"Removed login credentials for {options.registry}")
    return 0


def _asked(question: str, *, hidden: bool = False) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            "cannot perform an interactive login from a non TTY device", "use --password-stdin"
        )
    return getpass.getpass(question) if hidden else input(question)


def _credentials_file(session: Session, named: str | None) -> Path:
    """Where podman(1) or docker(1) keep them; both are read when images are pulled."""
    named = named or session.environment.get("REGISTRY_AUTH_FILE")
    if named:
        return Path(named)
    if session.program is Program.DOCKER:
        directory = session.environment.get("DOCKER_CONFIG") or session.home / ".docker"
        return Path(directory) / "config.json"
    runtime = session.environment.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "containers/auth.json"
    return session.home / ".config/containers/auth.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ContainerError(f"{path} is no JSON", "mend or remove it") from error
    if not isinstance(content, dict):
        raise ContainerError(f"{path} is no list of passwords", "mend or remove it")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        made.touch(mode=0o600)
        made.write_text(json.dumps(content, indent=2), encoding="utf-8")
        made.replace(path)
    finally:
        with contextlib.suppress(OSError):
            made.unlink()
