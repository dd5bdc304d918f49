# SPDX-License-Identifier: Apache-2.0
"""Builds an image from a Dockerfile, without root: a plan first, then what of it is not there yet.

What each instruction makes is named by a key, a hash of the instruction, the variables in force and
the key of what it is applied to. So everything has its name before anything is run, and what has
been built before is found by it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cwl_udss.errors import ImageError
from cwl_udss.images.convert import make_in_turn, new_root
from cwl_udss.images.dockerfiles.context import Given
from cwl_udss.images.dockerfiles.dockerfile import parse_dockerfile, problem
from cwl_udss.images.dockerfiles.plan import Planner
from cwl_udss.images.dockerfiles.roots import BuildRoots, Command, Root
from cwl_udss.images.dockerfiles.state import Layer, State, hash_of
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.manifests.manifest import Platform, this_platform
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.pull import Images, When
from cwl_udss.images.sources.download import download
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.images.trees.contents import write_tree
from cwl_udss.images.trees.snapshot import read_directory
from cwl_udss.runtimes.choosing.choice import bubblewrap_for
from cwl_udss.sandbox import Runtime

_logger = logging.getLogger(__name__)


def build_image(
    dockerfile: str,
    *,
    images: Images,
    store: Store,
    node: NodeImages,
    runtime: Callable[[], Runtime],
    name: str,
    when: When,
    given: Given | None = None,
) -> StoredImage:
    """Return the image that a Dockerfile describes, with what else is given to it, built if need be
    and allowed.

    Raises ImageError that names the line, StoreError or SandboxError.
    """
    platform = this_platform()
    # A build is many small files: on this node, if the store is where these are slow.
    place = store if store.format is ImageFormat.DIRECTORY else node.store()
    with place.work() as work:
        empty = work / "scratch"
        empty.mkdir()
        bases = partial(images.get, when=When.NEVER if when is When.NEVER else When.MISSING)
        parsed = parse_dockerfile(dockerfile)
        planner = Planner(parsed, bases, node, platform, empty=empty, given=given or Given())
        state = planner.plan()
        document = json.dumps(_configuration(state, platform), sort_keys=True).encode()
        digest = f"sha256:{hash_of(state.key, document.decode())}"

        def build() -> None:
            if when is When.NEVER:
                raise ImageError(
                    f"the image of {name} is not in the store {store.path}",
                    "build it where there is a network: cwl-udss images pull WORKFLOW",
                )
            _logger.info("building %s", name)
            roots = BuildRoots(place, bubblewrap_for("building an image", runtime()))
            roots.export(_materialize(state.root, roots, work), work / "rootfs")
            with store.work() as target:
                made = target / "image"
                with new_root(made, target / "contents", store) as sink:
                    written = write_tree(*read_directory(work / "rootfs"), sink)
                store.publish(made, digest, document, written)

        return make_in_turn(digest, store, build, name)


def _materialize(layer: Layer | Path, roots: BuildRoots, work: Path) -> Root:
    """Make a root filesystem, and those it is made of, as far as they are not there."""
    if isinstance(layer, Path):
        return Root(layers=(layer,))
    parent = _materialize(layer.parent, roots, work)
    existing = roots.existing(layer.key, parent)
    if existing is not None:
        return existing
    request = dict(layer.request)
    try:
        if "command" in request:
            _logger.info("Dockerfile line %d: RUN", layer.line)
            return roots.run(layer.key, parent, Command(**request))
        if "url" in request:
            request["source"] = str(download(request.pop("url"), work / layer.key))
        elif "content" in request:
            (work / layer.key).write_text(request.pop("content"), encoding="utf-8")
            request["source"] = str(work / layer.key)
        origin = None if layer.origin is None else _materialize(layer.origin, roots, work)
        return roots.change(layer.key, parent, request, origin)
    except ImageError as error:
        if error.problem.startswith("Dockerfile line"):  # of the origin's
            raise
        raise problem(layer.line, error.problem, error.advice) from error


def _configuration(state: State, platform: Platform) -> dict[str, Any]:
    """The image's configuration (image-spec config.md)."""
    return {
        "os": platform.os,
        "architecture": platform.architecture,
        "config": {
            "Env": [f"{name}={value}" for name, value in state.environment.items()],
            "Entrypoint": list(state.entrypoint),
            "Cmd": list(state.command),
            "WorkingDir": state.directory,
            "User": state.user,
            "Labels": dict(state.labels),
        },
        "rootfs": {"type": "layers", "diff_ids": []},
        # So that no two images have one configuration, whose digest callers know them by.
        "history": [{"created_by": "cwl-udss", "comment": state.key}],
    }
