# SPDX-License-Identifier: Apache-2.0
"""What an image reference is: the grammar of https://github.com/distribution/reference."""

from __future__ import annotations

import re
from dataclasses import replace

from cwl_udss.errors import InvalidReference
from cwl_udss.images.transports import Kind, Transport, split_transport
from cwl_udss.records import record

DOCKER_HUB = "docker.io"
DOCKER_HUB_SERVER = "registry-1.docker.io"  # where its API is
_HUB_ALIASES = (DOCKER_HUB, "index.docker.io")

_DOMAIN_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
_LONGEST_NAME = 255


@record(frozen=True, kw_only=True)
class ImageReference:
    """An image by name; `registry` is empty in a short name (`debian`), whose registry is open."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository, as registries.conf and credentials name them."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    @property
    def identifier(self) -> str:
        """What the registry is asked for: the digest, or else the tag."""
        return self.digest or self.tag or "latest"

    def on(self, registry: str) -> ImageReference:
        """The same image on a registry, by the name that it has there."""
        repository = self.repository
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return replace(self, registry=registry, repository=repository)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse_reference(text: str) -> ImageReference:
    """Parse what a person writes for an image; without tag and digest the tag is `latest`.

    Raises InvalidReference, saying which part is wrong.
    """
    transport, rest = split_transport(text)
    if transport is not None and transport.kind is not Kind.REFERENCE:
        raise _of_another_kind(text, transport)
    rest, _, digest = rest.partition("@")
    if (digest or "@" in text) and not re.fullmatch(_DIGEST, digest):
        raise _invalid(text, f"{digest!r} is no digest", "write sha256: and 64 hexadecimal digits")
    name, tag = _split_tag(rest)
    if tag is not None and not re.fullmatch(_TAG, tag):
        raise _invalid(text, f"{tag!r} is no tag", "a tag has letters, digits and _ . -")
    registry, repository = _split_domain(name)
    _check_repository(text, repository)
    if len(name) > _LONGEST_NAME:
        raise _invalid(text, f"the name has more than {_LONGEST_NAME} characters", "shorten it")
    reference = ImageReference(
        registry=registry,
        repository=repository,
        tag=tag if tag or digest else "latest",
        digest=digest or None,
    )
    return reference.on(DOCKER_HUB) if registry in _HUB_ALIASES else reference


def _of_another_kind(text: str, transport: Transport) -> InvalidReference:
    """What to say where only an image at a registry can be meant."""
    if transport.kind is Kind.NOTHING_OF_OURS:
        return InvalidReference(f"{text!r} {transport.problem}", transport.advice)
    what = "is a URL" if transport.kind is Kind.URL else "names a file or a directory"
    return InvalidReference(f"{text!r} {what}", "name an image as docker pull takes it")


def _split_tag(text: str) -> tuple[str, str | None]:
    """A colon begins the tag if no slash follows; before that it begins a port."""
    name, colon, tag = text.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (text, None)


def _split_domain(name: str) -> tuple[str, str]:
    """The first component is a registry if it looks like one, as Docker decides it."""
    first, slash, rest = name.partition("/")
    is_domain = first == "localhost" or any(c in ".:[" or c.isupper() for c in first)
    if slash and is_domain and re.fullmatch(_DOMAIN, first):
        return first, rest
    return "", name


def _check_repository(text: str, repository: str) -> None:
    if not repository:
        raise _invalid(text, "there is no name", "write it as docker pull takes it")
    for part in repository.split("/"):
        if re.fullmatch(_PATH_PART, part):
            continue
        if part != part.lower():
            raise _invalid(text, f"{part!r} has upper-case letters", f"write {part.lower()!r}")
        raise _invalid(
            text, f"{part!r} is no part of a name", "it has lower-case letters, digits and . _ -"
        )


def _invalid(text: str, problem: str, advice: str) -> InvalidReference:
    return InvalidReference(f"{text!r} is no image reference, {problem}", advice)
