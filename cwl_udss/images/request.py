# SPDX-License-Identifier: Apache-2.0
"""What CWL's DockerRequirement asks for, and how to get it: pulled, built, loaded or imported."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from cwl_udss.errors import ImageError, InvalidReference
from cwl_udss.images.locations import (
    file_stamp,
    is_path,
    local_path,
    no_file,
    public_name,
    split_member,
    stored_name,
)
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.pull import Images, When
from cwl_udss.images.reference import parse_reference
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.images.transports import Kind, path_after_transport, split_transport
from cwl_udss.records import record
from cwl_udss.sandbox import Runtime


@record(frozen=True, kw_only=True)
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
        name = self.pull or self.image_id or self.load or self.import_ or "a Dockerfile"
        return public_name(name)


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
        path = path_after_transport(fields[name]) or fields[name]
        if not path.startswith("/"):
            fields[name] = urljoin(base, path)
    return ImageRequest(**fields, base=Path())


class RequestedImages:
    """Gets images for DockerRequirements, for any number of threads."""

    def __init__(
        self,
        images: Images,
        store: Store,
        node: NodeImages,
        runtime: Callable[[], Runtime],
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
        self._named_in_place: dict[str, StoredImage] = {}
        self._locks: defaultdict[ImageRequest, threading.Lock] = defaultdict(threading.Lock)

    def get(self, request: ImageRequest) -> StoredImage:
        """Return the image, made if need be. Raises ImageError, StoreError or SandboxError."""
        with self._locks[request]:
            if request not in self._gotten:
                image = self.get_as_it_is(request)
                self._gotten[request] = self._with_own_words(image, request.name)
            return self._gotten[request]

    def _with_own_words(self, image: StoredImage, name: str) -> StoredImage:
        """An image with what it says of itself in files of its own, for which one looks once."""
        if not image.config.has_own_words:
            return image
        from cwl_udss.images.in_place.own_words import own_words, with_own_words

        words = self._store.own_words.find(image)
        if words is None:
            words = own_words(name, self._node.root(image), image.config, self._runtime)
            with self._store.work() as work:
                self._store.own_words.keep(image, words, work)
        return replace(image, config=with_own_words(image.config, words))

    def get_as_it_is(self, request: ImageRequest) -> StoredImage:
        """Return the image, without what it says of itself in files of its own. Raises as get()
        does."""
        if request.pull:
            image = self._pulled(request.pull, request.base)
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

    def _pulled(self, name: str, base: Path) -> StoredImage:
        """What is at a registry or a URL, or what a prefix says to be a file (`file:`, `oci:`)."""
        if path_after_transport(name) is not None or name.startswith("file:/"):
            return self._from_file("any", name, base)
        self._check_no_path(name)
        return self._images.get(name, self._when)

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
        if not image.is_stored:  # the store could not find it again
            self._named_in_place[name] = image
            return
        known = self._store.find(name, self._platform)
        if known is None or known.digest != image.digest:
            self._store.remember(name, self._platform, image.digest)

    def _named(self, request: ImageRequest) -> StoredImage:
        """What a name alone means: a digest, a path, else what Images makes of it."""
        name = request.image_id
        image = self._store.find_digest(name) or self._named_in_place.get(name)
        if image is not None:
            return image
        # A bare word is a name, even where a file is called so.
        is_location = "/" in name or is_path(name)
        path = local_path(name, request.base) if is_location else None
        if path is None or not os.path.exists(path):
            return self._known(name)
        return self._from_file("any", name, request.base)

    def _known(self, name: str) -> StoredImage:
        """An image by its name, which may be any that somebody has given it."""
        if is_path(name) and self._store.find(name, self._platform) is None:
            raise no_file(name)
        return self._images.get(name, self._when)

    def _from_file(self, kind: str, location: str, base: Path) -> StoredImage:
        """An image in a file, which is not read again while it is the same, or that a prefix says
        to be elsewhere."""
        transport = split_transport(location)[0]
        path = local_path(location, base)
        if path is None or (transport is not None and transport.kind is not Kind.PATH):
            return self._images.get(location, self._when, kind)
        # A directory that is to be loaded is an image, and no root filesystem.
        if kind == "any" or os.path.isfile(path):
            from cwl_udss.images.in_place.found import found_image

            found = found_image(path, location, self._platform)
            if found is not None:
                return found
        try:
            stamp = f"{kind} {file_stamp(path)}"
        except OSError as error:
            raise ImageError(
                f"the image {location} cannot be read: {error.strerror}", "look at its path"
            ) from error
        member = split_member(location, base)[1]
        name = stored_name(path, member)
        image = self._store.find(name, self._platform, stamp)
        if image is not None:
            return image
        from cwl_udss.images.adopt import make_image
        from cwl_udss.images.sources.archives import read_image_file

        with self._store.work() as work:
            source = read_image_file(kind, path, str(path), self._platform, work, chosen=member)
            image = make_image(source, self._store, self._platform)
        self._store.remember(name, self._platform, image.digest, stamp)
        return image
