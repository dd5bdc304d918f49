# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss shim`: commands with other programs' names (see doors/)."""

from __future__ import annotations

import argparse
from pathlib import Path

from cwl_udss.doors.shims import NAMES, install, path_line, remove


def add_shim(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of `cwl-udss shim`."""
    parser = commands.add_parser(
        "shim",
        help="be podman, docker, apptainer, singularity or udocker for those who call them",
        description="Commands with other programs' names, by which workflow engines run their "
        "containers in sandboxes of cwl-udss. They come first if their directory does in PATH.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, run, words in (
        ("install", _install, "write them into a directory"),
        ("remove", _remove, "remove them from there"),
    ):
        action = actions.add_parser(name, help=words, description=f"{words.capitalize()}.")
        action.add_argument("directory", metavar="DIR", type=Path)
        # No `choices`, which argparse has with `*` looked for in the empty list, too.
        action.add_argument(
            "names", metavar="NAME", nargs="*", help=f"of {', '.join(NAMES)} (default: all)"
        )
        action.set_defaults(command=run)


def _install(options: argparse.Namespace, _settings: object) -> int:
    for path in install(options.directory, options.names):
        print(f"wrote {path}")
    print(path_line(options.directory))
    return 0


def _remove(options: argparse.Namespace, _settings: object) -> int:
    for path in remove(options.directory, options.names):
        print(f"removed {path}")
    return 0
