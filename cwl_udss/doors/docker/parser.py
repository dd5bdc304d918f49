# SPDX-License-Identifier: Apache-2.0
"""Parsers for the command lines of podman and docker, made from the tables of options.

Go's flags differ from argparse's in two things that callers use: a flag may have `=true` or
`=false` behind it, and an option that is not known is refused alone.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable
from typing import NoReturn

from cwl_udss.doors.docker.errors import UsageError
from cwl_udss.doors.docker.option import Fate, Kind, Option
from cwl_udss.doors.given import FORMATTER

_logger = logging.getLogger(__name__)
_MISSING = "the following arguments are required"
_TRUE, _FALSE = ("=true", "=1"), ("=false", "=0")


class DoorParser(argparse.ArgumentParser):
    """Raises UsageError instead of ending the process."""

    def __init__(self, options: Iterable[Option], usage: str) -> None:
        super().__init__(usage=usage, add_help=False, allow_abbrev=False, formatter_class=FORMATTER)
        self.options = tuple(options)
        self.add_argument("--help", action="help")
        for option in self.options:
            _add(self, option)

    def error(self, message: str) -> NoReturn:
        """Say it as those programs do, whose words some look for."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            word = unknown.split()[0]
            kind = "unknown flag: " if word.startswith("--") else "unknown shorthand flag: "
            raise UsageError(f"{kind}{word.partition('=')[0]}")
        if message.startswith(_MISSING):
            raise UsageError("requires at least 1 arg(s), only received 0", self.usage or "")
        raise UsageError(message)

    def parse(self, arguments: list[str]) -> argparse.Namespace:
        """Parse; what is ignored is noted in the log, what is refused raises UsageError."""
        found = self.parse_args(arguments)
        for option in self.options:
            if option.fate is Fate.HONOURED or not getattr(found, option.attribute):
                continue
            if option.fate is Fate.REFUSED:
                raise UsageError(f"{option.names[0]} is not possible here", option.note)
            _logger.debug("%s is ignored: %s", option.names[0], option.note or "it has no meaning")
        return found


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    name, attribute = option.names[0], option.attribute
    if option.kind is Kind.FLAG:
        spelled = [f"{name}{value}" for name in option.names for value in _TRUE]
        denied = [f"{name}{value}" for name in option.names for value in _FALSE]
        parser.add_argument(*option.names, *spelled, dest=attribute, action="store_true")
        parser.add_argument(*denied, dest=attribute, action="store_false")
        parser.set_defaults(**{attribute: None})
    elif option.kind is Kind.LIST:
        parser.add_argument(*option.names, dest=attribute, action="append", metavar=name.upper())
    else:
        parser.add_argument(*option.names, dest=attribute, metavar=name.upper())
