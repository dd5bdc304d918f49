# SPDX-License-Identifier: Apache-2.0
"""The command line of `cwl-udss images`, apart from what does it, which takes long to import."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from cwl_udss.images.libraries.naming import Naming
from cwl_udss.images.libraries.place import parse_naming
from cwl_udss.machine.quantities import parse_size
from cwl_udss.settings.config import add_options

_NAME = "a reference, or the digest or its beginning"
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def add_images(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command with its own commands, of which the chosen one becomes `images`."""
    parser = commands.add_parser(
        "images",
        help="pull, list, remove, verify and carry images",
        description="The store of converted images, shared by all your runs.",
    )
    actions = parser.add_subparsers(
        title="commands",
        metavar="COMMAND",
        dest="images",
        required=True,
        parser_class=_InAnyOrder,
    )

    def add(name: str, help: str, description: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=help, description=description)

    pull = add(
        "pull",
        "get images, or newer ones of the same names",
        "Ask the registry what each reference stands for now, and get that into the store unless "
        "it is there; of a workflow all images that its steps name, builds included. Mirrors, "
        "insecure and blocked registries and short names are taken from registries.conf; "
        "credentials from what docker or podman login has written.",
    )
    pull.add_argument(
        "names",
        metavar="IMAGE|WORKFLOW",
        nargs="+",
        help="as Docker names it, or a CWL document, or the URL of one",
    )
    pull.add_argument("--overrides", metavar="FILE", help="cwltool's overrides for the workflows")
    listing = add(
        "list",
        "show what is in the store",
        "Show what is in the store, and how much room it takes; what was used last comes last. "
        "Into a pipe a line is printed for each name of an image.",
    )
    listing.add_argument(
        "--filter",
        metavar="TEXT",
        action="append",
        default=[],
        help="only images with TEXT in a name or their digest, or whose name a pattern matches, "
        "`*/samtools:*` (again and again: any of them)",
    )
    listing.add_argument("--json", action="store_true", help="print all as JSON, for programs")
    inspect = add("inspect", "show all about an image", "Show all about an image, as JSON.")
    inspect.add_argument("name", metavar="IMAGE", help=_NAME)
    remove = add(
        "rm",
        "remove images",
        "Forget references; an image goes when none is left that stands for it. What a run uses, "
        "on whichever machine, stays.",
    )
    remove.add_argument("names", metavar="IMAGE", nargs="+", help=_NAME)
    pruning = add(
        "prune",
        "remove what was not used for long",
        "Remove images that were not used for long, or, the least recently used first, until the "
        "rest is small enough. What a run uses, on whichever machine, stays.",
    )
    pruning.add_argument(
        "--older-than", metavar="AGE", type=_age, help="such as 30d (s, m, h, d, w)"
    )
    pruning.add_argument("--max-size", metavar="SIZE", type=_size, help="such as 50G")
    add(
        "verify",
        "look for damaged images",
        "Read all images again; what is not what it was is put aside, into quarantine/. The exit "
        "code is 1 if there was any.",
    )
    export = add(
        "export",
        "write images to a file",
        "Write images of the store to one file, for a machine without network.",
    )
    export.add_argument("file", metavar="FILE", type=Path)
    export.add_argument("names", metavar="IMAGE|WORKFLOW", nargs="+", help=_NAME)
    export.add_argument("--overrides", metavar="FILE", help="cwltool's overrides for the workflows")
    importing = add(
        "import",
        "take images from such a file",
        "Put the images of a file that `export` has written into the store, with their names.",
    )
    importing.add_argument("file", metavar="FILE", type=Path)
    _add_link(actions)
    for action in actions.choices.values():
        add_options(action)
    return parser


class _InAnyOrder(argparse.ArgumentParser):
    """Takes names before and after options, which argparse does for no command of another."""

    _is_within = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as argparse's parse_known_intermixed_args, which calls this one again."""
        if self._is_within:
            return super().parse_known_args(args, namespace)
        self._is_within = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_within = False


def _add_link(actions: argparse._SubParsersAction[_InAnyOrder]) -> None:
    link = actions.add_parser(
        "link",
        help="give images under the names by which other programs look for them",
        description="Write images of the store to DIR as files for Apptainer (SIF) or enroot, by "
        "the names under which cwltool, Nextflow and others look for them. What is there stays.",
    )
    link.add_argument("directory", metavar="DIR", type=Path)
    link.add_argument("names", metavar="IMAGE", nargs="*", help=f"{_NAME} (default: all)")
    link.add_argument(
        "--naming",
        metavar="NAMING",
        type=_naming,
        required=True,
        help="whose names: cwltool, nextflow, snakemake, miniwdl, …; see docs/libraries.md",
    )
    link.add_argument("--force", action="store_true", help="replace what has such a name")


def _naming(text: str) -> Naming:
    try:
        return parse_naming(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+)([smhdw]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age, such as 30d")
    return int(match[1]) * _AGES[match[2] or "d"]
