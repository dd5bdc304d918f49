# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss doctor`: tries what a run needs, and says what to do about what is missing."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.filesize import decimal

import cwl_udss
from cwl_udss.config import Settings
from cwl_udss.errors import UdssError
from cwl_udss.images.manifest import this_platform
from cwl_udss.images.registries import load_registries
from cwl_udss.installation import Command, installed_command, other_command
from cwl_udss.javascript import SandboxedNode
from cwl_udss.resources import available_resources
from cwl_udss.runtimes.probe import find_bubblewrap
from cwl_udss.steps import open_store


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    subject: str
    text: str
    well: bool


def print_examination(settings: Settings, environment: Mapping[str, str], home: Path) -> int:
    """Print all findings. Returns the exit code: 0 if all is well."""
    findings = list(examine(settings, environment, home))
    for finding in findings:
        print(f"{'ok' if finding.well else 'FAIL':4}  {finding.subject}: {finding.text}")
    return 0 if all(finding.well for finding in findings) else 1


def examine(settings: Settings, environment: Mapping[str, str], home: Path) -> Iterator[Finding]:
    """Make all checks."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("versions", _versions),
        ("cwltool command", _command),
        ("settings", lambda: _settings(settings)),
        ("sandbox", lambda: _sandbox(settings, environment)),
        ("JavaScript", lambda: _javascript(settings, environment)),
        ("store", lambda: _store(settings)),
        ("registries", lambda: _registries(environment, home)),
        ("resources", lambda: _resources(environment)),
    ]
    for subject, check in checks:
        try:
            yield Finding(subject=subject, text=check(), well=True)
        except UdssError as error:
            yield Finding(subject=subject, text=str(error), well=False)


def _versions() -> str:
    return (
        f"cwl-udss {cwl_udss.__version__}, cwltool {version('cwltool')}, "
        f"Python {platform.python_version()}, Linux {platform.release()}, {this_platform()}"
    )


def _command() -> str:
    command = installed_command()
    if command is not Command.OURS:
        raise UdssError(
            f"it is {command.value}, not cwl-udss's: `cwltool --udss` does not work",
            "type: cwl-udss doctor --mend",
        )
    other = other_command()
    if other is not None:
        raise UdssError(
            f"PATH finds another first, {other}: `cwltool --udss` does not work there",
            "put this installation's commands first on PATH, or activate its environment",
        )
    return "cwl-udss's"


def _settings(settings: Settings) -> str:
    return ", ".join(
        f"{name} = {getattr(settings, name) or '(looked for)'} ({origin})"
        for name, origin in settings.origins.items()
    )


def _sandbox(settings: Settings, environment: Mapping[str, str]) -> str:
    runtime = find_bubblewrap(settings.bwrap, environment.get("PATH"))
    return f"{runtime.description}: user, mount, PID, IPC, UTS and network namespaces work"


def _javascript(settings: Settings, environment: Mapping[str, str]) -> str:
    runtime = find_bubblewrap(settings.bwrap, environment.get("PATH"))
    return SandboxedNode(lambda: runtime).examine()


def _store(settings: Settings) -> str:
    store = open_store(settings)
    with store.work():
        free = shutil.disk_usage(settings.store).free
    images = store.images()
    size = decimal(sum(image.size for image in images))
    return f"{settings.store}: {len(images)} images, {size}; {decimal(free)} free"


def _registries(environment: Mapping[str, str], home: Path) -> str:
    load_registries(environment, home)
    return "registries.conf is in order, or there is none"


def _resources(environment: Mapping[str, str]) -> str:
    resources = available_resources(environment)
    return f"{resources.cores} cores and {resources.ram} MiB of memory for steps side by side"
