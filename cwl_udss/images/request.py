# SPDX-License-Identifier: Apache-2.0
"""What CWL's DockerRequirement asks for, and how to get it: pulled, built, loaded or imported."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from cwl_udss.errors import ImageError, InvalidReference
from cwl_udss.images.locations import file_stamp, is_path, local_path, no_file
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.pull import Images, When
from cwl_udss.images.reference import parse_reference
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.runtimes.choice import AnyRuntime


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """The fields of a DockerRequirement that name an image (CommandLineTool.html, v1.2, 5.6).

    Where several are given the first of these counts, as in cwltool.
    """

    pull: str = ""
    file: str = ""
    """The text of a Dockerfile."""
    load: str = ""
    import_: str = ""
    image_id: str = ""
    base: Path = Path()
    """Where relative paths begin: the directory of the document."""

    @property
    def name(self) -> str:
        """For the log and for provenance."""
        return self.pull or self.image_id or self.load or self.import_ or "a Dockerfile"


def parse_request(requirement: Mapping[str, Any], base: Path | str) -> ImageRequest:
    """Read a DockerRequirement of a document in a directory, or at a URL.

    Raises ImageError if it names no image.
    """
    fields = {
        ours: str(requirement[theirs])
        for ours, theirs in (
            ("pull", "dockerPull"),
            ("file", "dockerFile"),
            ("load", "dockerLoad"),
            ("import_", "dockerImport"),
            ("image_id", "dockerImageId"),
        )
        if requirement.get(theirs)
    }
    if not fields:
        raise ImageError("a DockerRequirement names no image", "give it a dockerPull")
    if isinstance(base, Path):
        return ImageRequest(**fields, base=base)
    for name in {"load", "import_"} & fields.keys():
        if not fields[name].startswith("/"):
            fields[name] = urljoin(base, fields[name])
    return ImageRequest(**fields, base=Path())


class RequestedImages:
    """Gets images for DockerRequirements, for any number of threads."""

    def __init__(
        self,
        images: Images,
        store: Store,
        node: NodeImages,
        runtime: Callable[[], AnyRuntime],
        when: When,
    ) -> None:
        """`node` and `runtime` are needed when an image must be built, or looked into."""
        self._images = images
        self._store = store
        self._node = node
        self._runtime = runtime
        self._when = when
        self._platform = this_platform()
        self._gotten: dict[ImageRequest, StoredImage] = {}
        self._locks: defaultdict[ImageRequest, threading.Lock] = defaultdict(threading.Lock)

    def get(self, request: ImageRequest) -> StoredImage:
        """Return the image, made if need be. Raises ImageError, StoreError or SandboxError."""
        with self._locks[request]:
            if request not in self._gotten:
                self._gotten[request] = self._with_own_words(self._get(request), request.name)
            return self._gotten[request]

    def _with_own_words(self, image: StoredImage, name: str) -> StoredImage:
        """An image with what it says of itself in files of its own, for which one looks once."""
        if not image.config.has_own_words:
            return image
        from cwl_udss.images.in_place.own_words import own_words, with_own_words

        words = self._store.own_words.find(image)
        if words is None:
            words = own_words(name, self._node.root(image), self._runtime)
            with self._store.work() as work:
                self._store.own_words.keep(image, words, work)
        return replace(image, config=with_own_words(image.config, words))

    def _get(self, request: ImageRequest) -> StoredImage:
        if request.pull:
            self._check_no_path(request.pull)
            image = self._images.get(request.pull, self._when)
        elif request.file:
            from cwl_udss.images.dockerfiles.build import build_image

            image = build_image(
                request.file,
                images=self._images,
                store=self._store,
                node=self._node,
                runtime=self._runtime,
                name=request.name,
                when=self._when,
            )
        elif request.load:
            image = self._from_file("load", request.load, request.base)
        elif request.import_:
            image = self._from_file("import", request.import_, request.base)
        else:
            return self._named(request)
        if request.image_id:
            self._name(image, request.image_id)
        return image

    def _check_no_path(self, name: str) -> None:
        """Raise ImageError if a path is where the name of an image must be. What names a registry
        is no path, whatever its end."""
        with contextlib.suppress(InvalidReference):
            if parse_reference(name).registry:
                return
        if is_path(name) and self._store.find(name, self._platform) is None:
            raise ImageError(
                f"{name} is a path, and no name of an image (dockerPull)",
                "a file goes into dockerLoad or dockerImport, a directory into dockerImageId",
            )

    def _name(self, image: StoredImage, name: str) -> None:
        known = self._store.find(name, self._platform)
        if known is None or known.digest != image.digest:
            self._store.remember(name, self._platform, image.digest)

    def _named(self, request: ImageRequest) -> StoredImage:
        """What a name alone means: a digest, a path, else what Images makes of it."""
        name = request.image_id
        image = self._store.find_digest(name)
        if image is not None:
            return image
        # A bare word is a name, even where a file is called so.
        is_location = "/" in name or is_path(name)
        path = local_path(name, request.base) if is_location else None
        if path is None or not os.path.exists(path):
            return self._known(name)
        if path.is_dir():
            from cwl_udss.images.in_place.found import found_directory
            from cwl_udss.images.sources.archives import is_image_directory

            if not is_image_directory(path):
                return found_directory(path)
        return self._from_file("any", name, request.base)

    def _known(self, name: str) -> StoredImage:
        """An image by its name, which may be any that somebody has given it."""
        if is_path(name) and self._store.find(name, self._platform) is None:
            raise no_file(name)
        return self._images.get(name, self._when)

    def _from_file(self, kind: str, location: str, base: Path) -> StoredImage:
        """An image in a file or at a URL; neither is read again while it is the same."""
        path = local_path(location, base)
        name = location if path is None else os.path.realpath(path)
        try:
            # What is at a URL now nobody knows without asking: as with a tag, what was there holds.
            facts = () if path is None else (file_stamp(path),)
        except OSError as error:
            raise ImageError(
                f"the image {location} cannot be read: {error.strerror}", "look at its path"
            ) from error
        if path is not None and path.is_file():
            from cwl_udss.images.in_place.found import found_file

            found = found_file(path, location, self._platform)
            if found is not None:
                return found
        stamp = " ".join((kind, *facts))
        if path is not None or self._when is not When.ALWAYS:
            image = self._store.find(name, self._platform, stamp)
            if image is not None:
                return image
        if path is None and self._when is When.NEVER:
            raise ImageError(
                f"the image {location} is not in the store {self._store.path}",
                "get it where there is a network: cwl-udss images pull WORKFLOW",
            )
        from cwl_udss.images.convert import convert_in_turn
        from cwl_udss.images.sources.archives import read_image_file
        from cwl_udss.images.sources.download import download

        with self._store.work() as work:
            file = path or download(location, work / "download")
            source = read_image_file(kind, file, str(path or name), self._platform, work)
            image = convert_in_turn(source, self._store)
        self._store.remember(name, self._platform, image.digest, stamp)
        return image
