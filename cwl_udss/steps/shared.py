# SPDX-License-Identifier: Apache-2.0
"""What the steps of one run share: images, the runtime, and that all of them can be stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cwl_udss.errors import ImageError, SandboxError
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.pull import Images, When
from cwl_udss.images.request import ImageRequest, RequestedImages
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.report.trace import traced
from cwl_udss.runtimes.choosing.choice import RuntimeFinder, describe_choice
from cwl_udss.runtimes.choosing.table import LANDLOCK
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.sandbox import Result, RootFilesystem, Runtime, Sandbox, SandboxProcess, Streams
from cwl_udss.settings.opening import open_store, runtime_finder
from cwl_udss.settings.settings import Settings
from cwl_udss.steps.made import MadeDirectories
from cwl_udss.surroundings.host import host_directories

FindRuntime = Callable[[RuntimeFinder], PipedRuntime]
_Done = TypeVar("_Done")
_logger = logging.getLogger(__name__)


class Steps:
    """Runs commands in sandboxes of images, for any number of threads.

    Nothing is looked for before a step needs it, so that a run which only validates needs no
    runtime, and one whose images are there no registry.
    """

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        home: Path,
        when: When = When.MISSING,
        find_runtime: FindRuntime = RuntimeFinder.find,
    ) -> None:
        """`when` is when registries are asked, which is never if the settings say so.
        `find_runtime` finds the runtime in another way than by trying."""
        self._settings = settings
        self._environment = environment
        self._home = home
        self._when = When.NEVER if settings.offline else when
        self._find_runtime = find_runtime
        self._lock = threading.Lock()
        self._running: set[SandboxProcess] = set()
        self._stopped = False
        self.expected: list[ImageRequest] = []
        """What the documents that were read are going to ask for."""
        self.needed_bytes = 0
        """What one of their tools needs for its directories."""
        self.made = MadeDirectories()

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._node.close()

    @cached_property
    def _store(self) -> Store:
        return open_store(self._settings)

    @cached_property
    def _images(self) -> Images:
        from cwl_udss.images.libraries.known import known_places
        from cwl_udss.images.libraries.libraries import Libraries

        settings = self._settings
        known = known_places(self._environment, self._home) if settings.known_libraries else ()
        libraries = Libraries(settings.library, known, settings.library_trust, self._store)
        return Images(self._store, self._environment, self._home, libraries)

    @cached_property
    def _requested(self) -> RequestedImages:
        return RequestedImages(self._images, self._store, self._node, self.runtime, self._when)

    @cached_property
    def _node(self) -> NodeImages:
        return NodeImages(
            self._store,
            self.runtime,
            scratch=self._settings.scratch,
            scratch_bytes=self._settings.scratch_images,
            environment=self._environment,
        )

    @cached_property
    def _finder(self) -> RuntimeFinder:
        return runtime_finder(self._settings, self._environment)

    @cached_property
    def _found_runtime(self) -> PipedRuntime:
        runtime = self._find_runtime(self._finder)
        _logger.info("sandboxes are made by %s", describe_choice(runtime))
        return runtime

    def runtime(self) -> PipedRuntime:
        """Return the runtime. Raises SandboxError if no sandbox can be made on this machine."""
        with self._lock:
            return self._found_runtime

    @property
    def contains_tools_of_host(self) -> bool:
        """Whether tools without an image run in a sandbox, too: the one that is wanted shows them
        what there is on this machine."""
        return self._settings.runtime == LANDLOCK

    @property
    def limited(self) -> tuple[str, ...]:
        """Of what steps have no more than they ask for (see Settings.limit)."""
        return self._settings.limit

    @property
    def host_directories(self) -> tuple[str, ...]:
        """What tools of this machine may read of it."""
        return host_directories(self._environment, self._home, self._settings.readable)

    def image(self, request: ImageRequest) -> StoredImage:
        """Return an image, made if need be. Raises ImageError, StoreError or SandboxError."""
        if self.contains_tools_of_host:
            raise SandboxError(
                f"it needs the image {request.name}, and the runtime `{LANDLOCK}` shows none",
                "leave --udss-runtime out, or name another",
            )
        return self._requested.get(request)

    def image_as_it_is(self, request: ImageRequest) -> StoredImage:
        """Return an image without what it says of itself in files of its own. Raises as image()
        does."""
        return self._requested.get_as_it_is(request)

    def pulled(self) -> Mapping[str, StoredImage]:
        """Return the images that were asked for by reference until now, by other images, too."""
        return self._images.gotten()

    def expect(self, request: ImageRequest | None, needed_bytes: int) -> None:
        """Note what a tool is going to need."""
        if request is not None and request not in self.expected:
            self.expected.append(request)
        self.needed_bytes = max(self.needed_bytes, needed_bytes)

    def check_images(self) -> None:
        """See whether all expected images are there. Raises ImageError that names the missing."""
        missing = []
        for request in self.expected:
            try:
                self.image(request)
            except ImageError as error:
                _logger.debug("%s", error)
                missing.append(request.name)
        if missing:
            raise ImageError(
                f"not in the store {self._settings.store}, and the network may not be used: "
                f"{', '.join(missing)}",
                "where there is a network: cwl-udss images pull WORKFLOW",
            )

    def root(self, image: StoredImage) -> RootFilesystem:
        """Return an image's root filesystem, usable until the end of this. Raises StoreError."""
        return self._node.root(image)

    def run(
        self,
        name: str,
        sandbox: Sandbox,
        streams: Streams,
        time_limit: float | None = None,
    ) -> Result:
        """Run a sandbox's command to its end, on this thread (see sandbox.SandboxProcess). `name`
        is for the trace."""
        return self.with_runtime(
            lambda runtime: self._run(runtime, name, sandbox, streams, time_limit)
        )

    def with_runtime(self, work: Callable[[PipedRuntime], _Done]) -> _Done:
        """Have the runtime do something; again, if it fails and was not tried by this process.
        Raises SandboxError."""
        runtime = self.runtime()
        try:
            return work(runtime)
        except SandboxError:
            if not self._may_be_wrong(runtime):
                raise
        return work(self.runtime())

    def _may_be_wrong(self, runtime: Runtime) -> bool:
        """Whether it was not tried in this run, but before; then there is another now, or the same
        one, tried."""
        with self._lock:
            if self._found_runtime is runtime and self._finder.forget():
                del self._found_runtime
            return self._found_runtime is not runtime

    def _run(
        self,
        runtime: PipedRuntime,
        name: str,
        sandbox: Sandbox,
        streams: Streams,
        time_limit: float | None,
    ) -> Result:
        with traced("sandbox start", name):
            process = runtime.start(sandbox, streams)
        with self._lock:
            self._running.add(process)
            if self._stopped:
                process.kill()
        try:
            with traced("run", name):
                return process.wait(time_limit)
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Kill what is running, and whatever is started after this."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()
