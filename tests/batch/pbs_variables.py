# SPDX-License-Identifier: Apache-2.0
"""The variables that a job is given, in PBS's own encoding: commas between them, a backslash before
what would end or quote a value."""

from __future__ import annotations

from collections.abc import Mapping

from pbs_options import UsageError

_CANNOT_SEND = UsageError("qsub: cannot send environment with the job\n", 1)


def expand(wanted: str, environment: Mapping[str, str]) -> str:
    """The value of `-v` encoded; variables without a value have that of the environment."""
    encoded = []
    for token in _tokens(wanted):
        name, equals, value = token.partition("=")
        if equals:
            encoded.append(f"{name}={_encode_quoted(value)}")
        elif not name.startswith("PBS_O_"):
            if name not in environment:
                raise _CANNOT_SEND
            encoded.append(f"{name}={encode(environment[name])}")
    return ",".join(encoded)


def encode(value: str) -> str:
    """A value with all that is special escaped."""
    return "".join(f"\\{letter}" if letter in "\\,\"'" else letter for letter in value)


def decode(encoded: str) -> list[tuple[str, str]]:
    """The variables and their values."""
    variables = []
    item = ""
    letters = iter(encoded + ",")
    for letter in letters:
        if letter == "\\":
            item += next(letters, "")
        elif letter != ",":
            item += letter
        elif item:
            name, _, value = item.partition("=")
            variables.append((name, value))
            item = ""
    return variables


def _tokens(text: str) -> list[str]:
    """Split at commas that are neither quoted nor escaped."""
    tokens = [""]
    quote = ""
    letters = iter(text)
    for letter in letters:
        if letter == "," and not quote:
            tokens.append("")
            continue
        tokens[-1] += letter
        if letter == "\\":
            tokens[-1] += next(letters, "")
        elif letter in "\"'":
            quote = "" if letter == quote else letter
    return [token for token in tokens if token]


def _encode_quoted(value: str) -> str:
    """Escape what is within quotes, which go."""
    encoded = ""
    quote = ""
    for position, letter in enumerate(value):
        if letter in "\"'" and not quote:
            quote = letter
        elif letter == quote:
            quote = ""
        elif letter == "\\":
            encoded += "\\" if value[position + 1 : position + 2] == "," else "\\\\"
        elif letter in "\"'" or (letter == "," and quote):
            encoded += f"\\{letter}"
        else:
            encoded += letter
    if quote:
        raise _CANNOT_SEND
    return encoded
