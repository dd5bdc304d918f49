# SPDX-License-Identifier: Apache-2.0
"""The options of cwltool with --udss: ours, and those that cannot be used with it."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from dataclasses import replace

from cwltool.argparser import arg_parser
from cwltool.utils import versionstring

import cwl_udss
from cwl_udss.errors import SettingsError
from cwl_udss.images.pull import When
from cwl_udss.settings.config import add_options
from cwl_udss.settings.settings import Settings
from cwl_udss.settings.table import SETTINGS

_ENGINE = "--udss is the container engine"
_NO_CONTAINER = "a sandbox leaves no container behind, and has no container id"
# Options of cwltool that a sandbox of ours would not honour, by argparse's name: never ignored.
REFUSED_OPTIONS: Mapping[str, str] = {
    "singularity": _ENGINE,
    "podman": _ENGINE,
    "user_space_docker_cmd": _ENGINE,
    "use_container": _ENGINE,
    "image_base_path": "images are in the store (--udss-store)",
    "no_read_only": "the root filesystem is shared between steps, and never writable",
    "custom_net": "a step has no network, or with NetworkAccess the host's",
    "no_match_user": "a step always runs as yourself",
    "rm_container": _NO_CONTAINER,
    "record_container_id": _NO_CONTAINER,
    "cidfile_dir": _NO_CONTAINER,
    "cidfile_prefix": _NO_CONTAINER,
}


_STRICT_OPTIONS: Mapping[str, str] = {"strict_memory_limit": "memory", "strict_cpu_limit": "cores"}
"""Options of cwltool, by what is limited then."""


@functools.cache
def extended_parser() -> argparse.ArgumentParser:
    """Return cwltool's own parser with one group more."""
    parser: argparse.ArgumentParser = arg_parser()
    group = parser.add_argument_group(
        "cwl-udss", "Steps in rootless containers, without Docker (see also `cwl-udss --help`)."
    )
    group.add_argument(
        "--udss",
        action="store_true",
        help="run each step that has a DockerRequirement in a sandbox made of its image",
    )
    add_options(group, driver=True, batch=True)
    group.add_argument(
        "--udss-resume",
        metavar="RUN",
        help="go on with a run whose steps are jobs: its name, or its directory; what has ended is "
        "not run again, what is running is waited for",
    )
    group.add_argument(
        "--udss-detach",
        action="store_true",
        help="leave the jobs running when interrupted, for --udss-resume",
    )
    return parser


def cwltool_version_text() -> str:
    """Return what `cwltool --version` prints: cwltool's line, and ours after it."""
    return f"{versionstring()} with cwl-udss {cwl_udss.__version__}"


def refusal(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str | None:
    """Return why these options cannot go with `--udss`; None if they can."""
    for action in parser._actions:  # argparse has no public list of them
        reason = REFUSED_OPTIONS.get(action.dest)
        value = getattr(options, action.dest, None)
        if reason is None or value == parser.get_default(action.dest):
            continue
        # Of two options for one name (--rm-container, --leave-container) the one that was given.
        if action.const is None or action.const == value:
            return f"{action.option_strings[-1]} cannot be used with --udss: {reason}"
    return None


def options_of_ours(options: argparse.Namespace) -> list[str]:
    """Those that are given, but `--udss` itself."""
    names = {setting.option: setting.attribute for setting in SETTINGS}
    names |= {f"--udss-{name}": f"udss_{name}" for name in ("resume", "detach")}
    return [name for name, attribute in names.items() if getattr(options, attribute)]


def documents_of(options: argparse.Namespace) -> list[str]:
    """The paths of what a person has written, as the command line has them."""
    paths = (options.workflow, *options.job_order[:1], options.overrides)
    return [path for path in paths if path and not path.startswith("-")]


def when_to_pull(options: argparse.Namespace) -> When:
    """Return when registries are asked, as cwltool's own options have it."""
    if not options.pull_image:
        return When.NEVER
    return When.ALWAYS if options.force_docker_pull else When.MISSING


def with_strict_options(options: argparse.Namespace, settings: Settings) -> Settings:
    """Return settings in which that is limited, too, for which there are options of cwltool. Steps
    that are jobs have the batch system's limits. Raises SettingsError for an option that would be
    of no effect."""
    strict = {name: what for name, what in _STRICT_OPTIONS.items() if getattr(options, name)}
    if settings.batch is None:
        return replace(settings, limit=tuple(sorted({*settings.limit, *strict.values()})))
    given = [f"--{name.replace('_', '-')}" for name in strict]
    given += ["--udss-limit"] if settings.limit and options.udss_limit is not None else []
    for name in given:
        raise SettingsError(
            f"{name} is for steps on this machine", "leave it out: the batch system limits its jobs"
        )
    return replace(settings, limit=())


def refuse_needless_options(options: argparse.Namespace, settings: Settings) -> None:
    """Raise SettingsError for an option that would be of no effect. What files and the environment
    say is for all runs, and may well be for others; but who wants a pilot never wants all steps on
    this machine."""
    given = [
        setting
        for setting in SETTINGS
        if setting.is_batch and getattr(options, setting.attribute) is not None
    ]
    if settings.batch is None:
        if settings.pilot and settings.origins["pilot"] != "--udss-pilot":
            raise SettingsError(
                f"a pilot, which {settings.origins['pilot']} asks for, is for steps that are jobs",
                "add --udss-batch",
            )
        names = [setting.option for setting in given]
        names += [
            f"--udss-{name}" for name in ("resume", "detach") if getattr(options, f"udss_{name}")
        ]
        for name in names:
            raise SettingsError(f"{name} is for steps that are jobs", "add --udss-batch")
    for setting in given:
        if setting.name.startswith("pilot_") and not settings.pilot:
            raise SettingsError(f"{setting.option} is for a pilot", "add --udss-pilot")
        if setting.name == "batch_group" and settings.pilot:
            raise SettingsError(
                f"{setting.option} is for jobs, and with --udss-pilot steps are none",
                "leave out one of the two",
            )
