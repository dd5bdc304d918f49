# SPDX-License-Identifier: Apache-2.0
"""Reads a command line as Apptainer does, whose options may also be variables."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from cwl_udss.doors.apptainer.command_line.option import Kind, Option, Treatment
from cwl_udss.doors.given import FORMATTER
from cwl_udss.errors import UdssError
from cwl_udss.records import record

_logger = logging.getLogger(__name__)

PREFIXES = ("APPTAINER_", "SINGULARITY_")
"""Of variables that stand for options; the first is the stronger."""
# As Go's strconv.ParseBool has them.
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
# Of which what a variable says is added to what is typed.
_ADDED = ("bind", "mount")

# What takes the rest takes options, too, unless a word is there before it: there always is one.
_END = "\0"
_DASHES = "\0--"


class UsageError(Exception):
    """A command line that Apptainer would not take either."""


@record(frozen=True, kw_only=True)
class Given:
    """What was given to a command."""

    options: Mapping[str, Any]
    words: tuple[str, ...]
    """What is no option."""

    def flag(self, name: str) -> bool:
        """Whether an option was given that takes nothing."""
        return bool(self.options.get(name))

    def value(self, name: str) -> str:
        """The value of an option, "" if it was not given."""
        return self.options.get(name) or ""

    def list(self, name: str) -> tuple[str, ...]:
        """All values of an option."""
        return tuple(self.options.get(name) or ())


def parse(
    options: Sequence[Option],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    least: int,
    most: int | None = None,
    stops: bool = False,
) -> Given:
    """Parse what follows a command. If it `stops`, nothing that follows the first word is an
    option. Raises UsageError, and UdssError for what cannot be done here."""
    parser = _parser(options, arguments, stops=stops)
    if stops:
        # Which of these argparse drops depends on its version; Apptainer, one before all words.
        hidden = [_DASHES if word == "--" else word for word in arguments]
        namespace, unknown = parser.parse_known_args([*hidden, _END])
        found = [namespace.first, *namespace.rest][:-1]
        shown = found[1:] if found[:1] == [_DASHES] else found
        words = tuple("--" if word == _DASHES else word for word in shown)
    else:
        namespace, unknown = parser.parse_known_intermixed_args(arguments)
        words = tuple(namespace.words)
    if unknown:
        raise UsageError(f"unknown flag: {unknown[0].partition('=')[0]}")
    _check_number(len(words), least, most)
    typed = {option.name: getattr(namespace, option.name) for option in options}
    values = {name: value for name, value in typed.items() if value is not None}
    given = Given(options=_with_variables(options, values, environment), words=words)
    _treat(options, given)
    return given


def _check_number(count: int, least: int, most: int | None) -> None:
    if most is None and count < least:
        raise UsageError(f"requires at least {least} arg(s), only received {count}")
    if most is not None and not least <= count <= most:
        range = f"{least}" if least == most else f"between {least} and {most}"
        raise UsageError(f"accepts {range} arg(s), received {count}")


def _treat(options: Sequence[Option], given: Given) -> None:
    """Say what becomes of options that do not do what they say."""
    for option in options:
        if not given.options.get(option.name):
            continue
        if option.treatment is Treatment.REFUSED:
            raise UdssError(f"cwl-udss does not take --{option.name}", option.reason)
        if option.treatment is Treatment.WARNED:
            _logger.warning("cwl-udss does not keep --%s: %s", option.name, option.reason)
        elif option.treatment is Treatment.IGNORED:
            _logger.debug("--%s changes nothing: %s", option.name, option.reason)


class _Parser(argparse.ArgumentParser):
    """Has what is wrong told by its caller."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message.removeprefix("argument "))


def _typed(option: Option, words: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """As what a flag is typed with one of these values. To add them all takes time."""
    return list({f"--{option.name}={word}" for word in words} & {*arguments})


def _parser(
    options: Sequence[Option], arguments: Sequence[str], *, stops: bool
) -> argparse.ArgumentParser:
    parser = _Parser(allow_abbrev=False, add_help=False, formatter_class=FORMATTER)
    for option in options:
        names = [f"--{option.name}"] + ([f"-{option.short}"] if option.short else [])
        if option.kind is Kind.FLAG:
            # pflag takes a value behind a =, and only there.
            yes, no = _typed(option, _TRUE, arguments), _typed(option, _FALSE, arguments)
            parser.add_argument(*names, *yes, dest=option.name, action="store_const", const=True)
            if no:
                parser.add_argument(*no, dest=option.name, action="store_const", const=False)
        else:
            action = "append" if option.kind is Kind.LIST else "store"
            parser.add_argument(*names, dest=option.name, action=action)
    if stops:
        parser.add_argument("first")
        parser.add_argument("rest", nargs=argparse.REMAINDER)
    else:
        parser.add_argument("words", nargs="*")
    return parser


def _with_variables(
    options: Sequence[Option], given: Mapping[str, Any], environment: Mapping[str, str]
) -> Mapping[str, Any]:
    """What was typed, and what variables say (apptainer's pkg/cmdline/env.go)."""
    values = dict(given)
    for option in options:
        text = _variable(option, environment)
        if not text.strip():
            continue
        if option.name in _ADDED:
            values[option.name] = [*values.get(option.name, ()), text]
        elif option.name not in values:
            values[option.name] = _converted(option, text.strip())
    return values


def _variable(option: Option, environment: Mapping[str, str]) -> str:
    names = (f"{prefix}{name}" for prefix in PREFIXES for name in option.variables)
    return next((environment[name] for name in names if environment.get(name)), "")


def _converted(option: Option, text: str) -> Any:
    if option.kind is Kind.LIST:
        return [part.strip() for part in text.split(",")]
    if option.kind is Kind.VALUE:
        return text
    if text not in (*_TRUE, *_FALSE):
        raise UsageError(f"unable to set flag {option.name} to value {text}: invalid syntax")
    return text in _TRUE


def split_values(values: Sequence[str]) -> tuple[str, ...]:
    """Return the parts of lists with commas between them, as pflag's stringSlice has them."""
    if not values:
        return ()
    import csv  # of few command lines

    return tuple(part for text in values for line in csv.reader([text]) for part in line)


def split_assignments(values: Sequence[str]) -> dict[str, str]:
    """Return what pflag's stringToString makes of `NAME=value,NAME=value`, in which a comma is one
    of the value if there is one = only. Raises UsageError."""
    found: dict[str, str] = {}
    for text in values:
        for part in [text] if text.count("=") == 1 else split_values([text]):
            name, separator, value = part.partition("=")
            if not separator:
                raise UsageError(f"{part} must be formatted as key=value")
            found[name] = value
    return found
