# SPDX-License-Identifier: Apache-2.0
"""What an image reference is: the grammar of https://github.com/distribution/reference."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from cwl_udss.errors import InvalidReference

DOCKER_HUB = "docker.io"
DOCKER_HUB_SERVER = "registry-1.docker.io"  # where its API is
_HUB_ALIASES = (DOCKER_HUB, "index.docker.io")

_DOMAIN_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PATH_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LONGEST_NAME = 255

_BY_PATH = "name the file or directory by its path, with a / in it"
_OF_A_REGISTRY = "name it as docker pull does"
_NO_URL = "at a registry, write it without that; a file goes into dockerLoad or dockerImport"
# What other programs write before a name: containers-transports(5), and Apptainer's user guide.
_TRANSPORTS = {
    "library": ("names an image of Singularity's own library", "pull it as a file with apptainer"),
    "shub": ("names an image of Singularity Hub, which has ended", "find it in another registry"),
    "oras": ("names a SIF image in a registry", "pull it as a file with apptainer"),
    "http": ("is a URL", _NO_URL),
    "https": ("is a URL", _NO_URL),
    "docker-archive": ("names a file", _BY_PATH),
    "oci-archive": ("names a file", _BY_PATH),
    "oci": ("names a directory", _BY_PATH),
    "dir": ("names a directory", _BY_PATH),
    "docker-daemon": ("names an image of a Docker on some machine", _OF_A_REGISTRY),
    "containers-storage": ("names an image that podman has", _OF_A_REGISTRY),
}
# Those that are names of no image, with whatever follows.
_NO_NAMES = ("docker-archive", "oci-archive", "docker-daemon", "containers-storage")


@dataclass(frozen=True, kw_only=True)
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
    rest = text.removeprefix("docker://")  # users of Singularity write it
    transport, colon, where = rest.partition(":")
    if transport in _TRANSPORTS and (where.startswith("/") or (colon and transport in _NO_NAMES)):
        problem, advice = _TRANSPORTS[transport]
        raise InvalidReference(f"{text!r} {problem}", advice)
    rest, _, digest = rest.partition("@")
    if (digest or "@" in text) and not _DIGEST.fullmatch(digest):
        raise _invalid(text, f"{digest!r} is no digest", "write sha256: and 64 hexadecimal digits")
    name, tag = _split_tag(rest)
    if tag is not None and not _TAG.fullmatch(tag):
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


def _split_tag(text: str) -> tuple[str, str | None]:
    """A colon begins the tag if no slash follows; before that it begins a port."""
    name, colon, tag = text.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (text, None)


def _split_domain(name: str) -> tuple[str, str]:
    """The first component is a registry if it looks like one, as Docker decides it."""
    first, slash, rest = name.partition("/")
    is_domain = first == "localhost" or any(c in ".:[" or c.isupper() for c in first)
    if slash and is_domain and _DOMAIN.fullmatch(first):
        return first, rest
    return "", name


def _check_repository(text: str, repository: str) -> None:
    if not repository:
        raise _invalid(text, "there is no name", "write it as docker pull takes it")
    for part in repository.split("/"):
        if _PATH_PART.fullmatch(part):
            continue
        if part != part.lower():
            raise _invalid(text, f"{part!r} has upper-case letters", f"write {part.lower()!r}")
        raise _invalid(
            text, f"{part!r} is no part of a name", "it has lower-case letters, digits and . _ -"
        )


def _invalid(text: str, problem: str, advice: str) -> InvalidReference:
    return InvalidReference(f"{text!r} is no image reference, {problem}", advice)
