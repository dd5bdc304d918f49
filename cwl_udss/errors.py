# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as a person reads it: what failed, on what, and what to do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator


def one_line(text: str) -> str:
    """Return a text without line breaks and control codes."""
    return "".join(character if character.isprintable() else " " for character in text)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets, which a person has typed, or a program has said."""
    for secret in secrets:
        text = text.replace(secret, "(secret)") if secret else text
    return text


class UdssError(Exception):
    """A failure with a cause outside this program: a setting, a registry, an image, a machine.

    `str()` is the one line that the person sees; the technical cause is chained (`from`).
    """

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem, advice)
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        # Messages of other programs end up in ours, and may hold line breaks and control codes.
        return one_line(f"{self.problem}: {self.advice}" if self.advice else self.problem)


class SettingsError(UdssError):
    """A configuration file, an environment variable or an option says something impossible."""


class ImageError(UdssError):
    """An image could not be had, or is not one that may be run."""


class InvalidReference(ImageError):
    """The name of an image does not parse."""


class RegistryError(ImageError):
    """A registry is down, refuses, or answers with something that is no answer."""


class NotFound(RegistryError):
    """The registry has no such image."""


class AccessRefused(RegistryError):
    """The registry does not let this user have it."""


class InvalidImage(ImageError):
    """What came is not what was asked for: wrong digest, truncated, malformed or hostile."""


class NoContainerImage(InvalidImage):
    """What came is something else that registries hold."""


class MissingPart(RegistryError):
    """A registry lacks what one of its manifests names."""


class DamagedImage(InvalidImage):
    """What came breaks off, or contradicts itself."""


class DownloadError(UdssError):
    """A file could not be had by its URL."""


class StoreError(UdssError):
    """The store cannot be read or written: full, read-only, someone else's."""


class SandboxError(UdssError):
    """The sandbox could not be made; the tool in it has not run."""


class StreamError(UdssError):
    """What a step reads or says could not be passed on; it has run."""


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Say of which file an ImageError is, if that is not said."""
    try:
        yield
    except ImageError as error:
        if name in error.problem:
            raise
        raise type(error)(f"{name}: {error.problem}", error.advice) from error
