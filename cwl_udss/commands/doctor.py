# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss doctor`: tries what a run needs, and says what to do about what is missing."""

from __future__ import annotations

import contextlib
import functools
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.filesize import decimal

import cwl_udss
from cwl_udss.batch.examination import examine_node
from cwl_udss.commands.findings import Finding
from cwl_udss.commands.libraries import examine_libraries
from cwl_udss.commands.runtimes import (
    ALL,
    describe_sandbox,
    describe_tried,
    parse_names,
    try_runtimes,
)
from cwl_udss.engine.batch_run import batch_client
from cwl_udss.engine.startup.installation import Command, installed_command, other_command
from cwl_udss.errors import StoreError, UdssError
from cwl_udss.files.scratch import local_directories, temporary_directory
from cwl_udss.filesystems.filesystem import Abilities, Filesystem, look_at, try_abilities
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.sources.registry.registries import load_registries
from cwl_udss.images.store.store import Store
from cwl_udss.machine.quantities import counted
from cwl_udss.machine.resources import available_resources
from cwl_udss.settings.opening import open_store, runtime_finder
from cwl_udss.settings.setting import DEFAULT
from cwl_udss.settings.settings import Settings
from cwl_udss.settings.table import SETTINGS
from cwl_udss.surroundings.javascript import SandboxedNode

_FEW_BYTES = 2 << 30
_FEW_INODES = 20_000
_STATES = ("FAIL", "note", "ok")
_KEPT_AS = {ImageFormat.DIRECTORY: "directories", ImageFormat.SQUASHFS: "single SquashFS files"}


def print_examination(settings: Settings, environment: Mapping[str, str], home: Path) -> int:
    """Print all findings. Returns the exit code: 0 if all is well."""
    findings = list(examine(settings, environment, home))
    print("\n".join(describe(findings)))
    return 0 if all(finding.well for finding in findings) else 1


def print_runtimes(settings: Settings, environment: Mapping[str, str], names: Sequence[str]) -> int:
    """Print what comes of trying some runtimes. Returns the exit code: 0 if each works that was
    named. Raises SandboxError for a name of none."""
    tried = list(try_runtimes(runtime_finder(settings, environment), parse_names(names)))
    print(*describe_tried(tried), sep="\n")
    return 1 if ALL not in names and any(one.problem for one in tried) else 0


def describe(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield what is printed: first what there is to be done, in columns."""
    width = max(len(finding.subject) for finding in findings) + 1
    for finding in sorted(findings, key=lambda finding: _STATES.index(finding.state)):
        advice = f": {finding.advice}" if finding.advice else ""
        first, *others = f"{finding.text}{advice}".split("\n")
        yield f"{finding.state:4}  {finding.subject + ':':{width}} {first}"
        yield from (f"{'':{width + 6}} {line}" for line in others)


def print_node_examination(settings: Settings, environment: Mapping[str, str]) -> int:
    """Print what a job finds on a node of the batch system. Returns the exit code: 0 if all is
    well. Raises BatchError if there is no answer."""
    answer = examine_node(batch_client(settings, environment), settings, environment)
    node, _, findings = answer.text.partition("\n")
    print(f"job {answer.job} ran on {node}, and has answered after {answer.seconds:.0f} s; there:")
    print(findings, end="")
    return 0 if answer.is_well else 1


def examine(settings: Settings, environment: Mapping[str, str], home: Path) -> Iterator[Finding]:
    """Make all checks."""
    finder = runtime_finder(settings, environment)
    finder.forget()  # who asks may have changed something
    checks: list[tuple[str, Callable[[], str]]] = [
        ("versions", _versions),
        ("cwltool command", _command),
        ("settings", lambda: _settings(settings)),
        ("sandbox", lambda: describe_sandbox(finder)),
        ("runtimes", lambda: "\n".join(describe_tried(try_runtimes(finder)))),
        ("JavaScript", lambda: _javascript(settings, environment)),
        ("store", lambda: _store(settings)),
        ("images on this node", lambda: _node(settings, environment)),
        ("registries", lambda: _registries(environment, home)),
        ("resources", lambda: _resources(environment)),
    ]
    for subject, check in checks:
        try:
            yield Finding(subject=subject, text=check())
        except UdssError as error:
            yield Finding(subject=subject, text=str(error), well=False)
    yield from examine_libraries(settings, environment, home)
    yield from examine_programs(settings, environment)
    yield from examine_filesystems(settings, environment)


def examine_programs(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """See whether programs of images can be executed where the images are; says nothing of places
    where they can."""
    store = open_store(settings)
    for place in (settings.store, *settings.other_stores):
        try:
            is_concerned = look_at(place).forbids_programs and (
                store.format is ImageFormat.DIRECTORY
                if place == settings.store
                else any(image.format is ImageFormat.DIRECTORY for image in Store(place).images())
            )
            if not is_concerned:
                continue
            with _node_images(settings, environment) as node:
                copies = f"images are copied to {node.unpacked_directory} on each node"
        except (OSError, UdssError) as error:
            yield Finding(subject="programs of images", text=str(error), well=False)
            continue
        yield Finding(
            subject="programs of images",
            text=f"they cannot be executed in {place} (mounted noexec): {copies}",
            advice="keep images elsewhere (--udss-store), or as files (--udss-format squashfs)",
        )


def examine_filesystems(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look at the filesystems that a run writes to."""
    places = [
        ("store's filesystem", settings.store, _store_advice),
        ("output directory", Path.cwd(), _output_advice),
    ]
    try:
        scratch = local_directories(settings.scratch, environment)
        places += [("scratch", path, _scratch_advice) for path in scratch[:1]]
    except StoreError as error:
        yield Finding(subject="scratch", text=str(error), well=False)
    for subject, path, advise in places:
        try:
            found = look_at(path)
        except OSError as error:
            yield Finding(subject=subject, text=f"{path}: {error.strerror}", well=False)
            continue
        abilities = None
        with contextlib.suppress(OSError):
            abilities = try_abilities(found.path)
        yield Finding(subject=subject, text=_described(found, abilities), advice=advise(found))


def _described(found: Filesystem, abilities: Abilities | None) -> str:
    """All facts in a line."""
    inodes = "" if found.free_inodes is None else f" and {found.free_inodes} files"
    words = [
        f"{found.path} is on {found.kind.value} ({found.type_name})",
        "which other machines see, too" if found.is_shared else "of this machine",
        f"{decimal(found.free_bytes)}{inodes} free",
        *sorted(found.options & {"noexec", "nosuid", "nodev"}),
        *([found.lock_option] if found.lock_option else []),
    ]
    if abilities is None:
        return ", ".join([*words, "nothing can be written there"])
    can = {
        "hard links": abilities.hard_links,
        "shared blocks": abilities.reflinks,
        "unnamed files": abilities.unnamed_files,
        "attributes": abilities.attributes,
    }
    lacking = [name for name, there in can.items() if not there]
    return ", ".join([*words, f"without {' and '.join(lacking)}"] if lacking else words)


def _store_advice(found: Filesystem) -> str:
    if found.free_bytes < _FEW_BYTES:
        return "that is little for images; name another place with --udss-store"
    few = found.free_inodes is not None and found.free_inodes < _FEW_INODES
    if few and not found.is_shared:
        return "few files are left: --udss-format squashfs keeps an image in one"
    return ""


def _output_advice(found: Filesystem) -> str:
    if found.forbids_programs:
        return "tools that execute what they have just made fail there (noexec)"
    return ""


def _scratch_advice(found: Filesystem) -> str:
    if found.is_shared:
        return "steps are slow there; name a directory of this node with --udss-scratch"
    if found.free_bytes < _FEW_BYTES:
        return "that is little for the steps of a run; name another place with --udss-scratch"
    return _output_advice(found)


def _node(settings: Settings, environment: Mapping[str, str]) -> str:
    with _node_images(settings, environment) as node:
        new = f"new images are kept as {_KEPT_AS[open_store(settings).format]}"
        return f"{new}; SquashFS files are {node.describe()}"


def _node_images(settings: Settings, environment: Mapping[str, str]) -> NodeImages:
    return NodeImages(
        open_store(settings),
        runtime_finder(settings, environment).find,
        scratch=settings.scratch,
        scratch_bytes=settings.scratch_images,
        environment=environment,
    )


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
    given = [
        f"{setting.name} = {setting.show(getattr(settings, setting.name))} ({origin})"
        for setting in SETTINGS
        if (origin := settings.origins[setting.name]) != DEFAULT
    ]
    if not given:
        return "all are at their defaults"
    return "\n".join(("all are at their defaults but", *map(_printable, given)))


def _printable(line: str) -> str:
    """A value may have line breaks and control codes."""
    return "".join(c if c.isprintable() else " " for c in line)


def _javascript(settings: Settings, environment: Mapping[str, str]) -> str:
    runtime = runtime_finder(settings, environment).find()
    temporary = functools.partial(temporary_directory, settings.scratch, environment)
    return SandboxedNode(lambda: runtime, temporary).examine()


def _store(settings: Settings) -> str:
    store = open_store(settings)
    with store.work():
        free = shutil.disk_usage(settings.store).free
    images = store.images()
    size = decimal(sum(image.size for image in images))
    return f"{settings.store}: {counted(len(images), 'image')}, {size}; {decimal(free)} free"


def _registries(environment: Mapping[str, str], home: Path) -> str:
    load_registries(environment, home)
    return "registries.conf is in order, or there is none"


def _resources(environment: Mapping[str, str]) -> str:
    resources = available_resources(environment)
    cores = counted(resources.cores, "core")
    return f"{cores} and {resources.ram} MiB of memory for steps side by side"
