# SPDX-License-Identifier: Apache-2.0
"""The image that a command line names: a file, a directory, or what is at a registry."""

from __future__ import annotations

import os
import stat

from cwl_udss.doors.apptainer.session import Session
from cwl_udss.errors import UdssError
from cwl_udss.images.in_place.own_words import is_inside
from cwl_udss.images.manifests.manifest import ImageConfig
from cwl_udss.images.request import ImageRequest
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.written_files import WrittenFiles
from cwl_udss.images.transports import Kind, split_transport
from cwl_udss.records import record
from cwl_udss.sandbox import RootFilesystem
from cwl_udss.settings.opening import open_store
from cwl_udss.steps.shared import Steps

_SCRIPTS = ".singularity.d/env"
_SHELL = ("/bin/sh",)


@record(frozen=True, kw_only=True)
class FoundImage:
    """An image whose root filesystem is there."""

    root: RootFilesystem
    config: ImageConfig
    has_scripts: bool
    """Whether its environment is what scripts in it make."""

    @property
    def environment(self) -> dict[str, str]:
        """What its configuration sets."""
        pairs = (entry.partition("=") for entry in self.config.environment)
        return {name: value for name, _, value in pairs}

    def command(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Return what `run` executes, as Docker has it."""
        return (*self.config.entrypoint, *(words or self.config.command)) or _SHELL


def find_image(name: str, steps: Steps, session: Session) -> FoundImage:
    """Return the image of a name, as Apptainer takes them, got if need be. Raises UdssError."""
    request = _request(name)
    image = _written(request, session) or steps.image_as_it_is(request)
    root = steps.root(image)
    has_scripts = image.config.has_own_words and is_inside(root.here, _SCRIPTS, stat.S_ISDIR)
    if image.config.has_own_words and not has_scripts:  # of other programs
        image = steps.image(request)
    return FoundImage(root=root, config=image.config, has_scripts=has_scripts)


def _request(name: str) -> ImageRequest:
    transport, _ = split_transport(name)
    if transport is not None and transport.kind is Kind.NOTHING_OF_OURS:
        raise UdssError(
            f"Unable to handle {name} uri: it {transport.problem}",
            "cwl-udss takes files, directories, docker://, oras://, https:// and archives",
        )
    if transport is not None:
        return ImageRequest(pull=name)
    path = name.removeprefix("file://")
    if not os.path.exists(path):
        raise UdssError(
            f"could not open image {path}: failed to retrieve path for {path}: lstat {path}: no "
            "such file or directory"
        )
    return ImageRequest(image_id=os.path.abspath(path))


def _written(request: ImageRequest, session: Session) -> StoredImage | None:
    """The image of the store that a file was made of, if one of ours has made it."""
    if not request.image_id or not os.path.isfile(request.image_id):
        return None
    store = open_store(session.settings)
    digest = WrittenFiles(store.path).find(request.image_id)
    return store.find_digest(digest) if digest else None
