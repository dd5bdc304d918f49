# SPDX-License-Identifier: Apache-2.0
"""The environment of a container: the image's, the program's own, and what the caller gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cwl_udss.doors.docker.errors import ContainerError, UsageError

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


def given_variables(
    words: Sequence[str], files: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    """Return what -e and --env-file give; the former count more. A name without a value stands for
    the caller's own variable, and for none if the caller has none."""
    given: dict[str, str] = {}
    for path in files:
        for line in _lines(path):
            _give(line, given, environment)
    for word in words:
        if not word or word.startswith("="):
            raise UsageError(f"invalid environment variable: {word!r}")
        _give(word, given, environment)
    return given


def proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's variables that say how to get to the network (podman-run(1),
    --http-proxy)."""
    names = (*_PROXIES, *map(str.upper, _PROXIES))
    return {name: environment[name] for name in names if name in environment}


def _give(word: str, given: dict[str, str], environment: Mapping[str, str]) -> None:
    name, sign, value = word.partition("=")
    if sign:
        given[name] = value
    elif name.endswith("*"):
        given.update({n: v for n, v in environment.items() if n.startswith(name[:-1])})
    elif name in environment:
        given[name] = environment[name]


def _lines(path: str) -> list[str]:
    """The lines of a file that say something. Some that callers write are for a shell as well
    (`export A="x"`): what is before the name is left out, and quotes around a value."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise ContainerError(f"open {path}: {error.strerror}") from error
    return [_plain(line.lstrip()) for line in lines if line.strip() and line.lstrip()[0] != "#"]


def _plain(line: str) -> str:
    if not line.startswith("export "):
        return line
    name, sign, value = line.removeprefix("export ").strip().partition("=")
    if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
        value = value[1:-1]
    return f"{name}{sign}{value}"
