# SPDX-License-Identifier: Apache-2.0
"""What the steps of one run share: images, the runtime, and that all of them can be stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import IO

from cwl_udss.config import Settings
from cwl_udss.images.pull import Images, When
from cwl_udss.images.request import ImageRequest, RequestedImages
from cwl_udss.images.store import Store, StoredImage
from cwl_udss.runtimes.bwrap import Bubblewrap
from cwl_udss.runtimes.probe import find_bubblewrap
from cwl_udss.sandbox import Result, Sandbox, SandboxProcess

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
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._home = home
        self._when = when
        self._lock = threading.Lock()
        self._running: set[SandboxProcess] = set()
        self._stopped = False

    @cached_property
    def _requested(self) -> RequestedImages:
        store = Store(self._settings.store)
        images = Images(store, self._environment, self._home)
        return RequestedImages(images, store, self.runtime, self._when)

    @cached_property
    def _found_runtime(self) -> Bubblewrap:
        runtime = find_bubblewrap(self._settings.bwrap, self._environment.get("PATH"))
        _logger.info("sandboxes are made by %s", runtime.description)
        return runtime

    def runtime(self) -> Bubblewrap:
        """Return the runtime. Raises SandboxError if no sandbox can be made on this machine."""
        with self._lock:
            return self._found_runtime

    def image(self, request: ImageRequest) -> StoredImage:
        """Return an image, made if need be. Raises ImageError, StoreError or SandboxError."""
        return self._requested.get(request)

    def run(
        self,
        sandbox: Sandbox,
        *,
        stdin: IO[bytes] | int,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
        time_limit: float | None = None,
    ) -> Result:
        """Run a sandbox's command to its end, on this thread (see sandbox.SandboxProcess)."""
        process = self.runtime().start(sandbox, stdin=stdin, stdout=stdout, stderr=stderr)
        with self._lock:
            self._running.add(process)
            if self._stopped:
                process.kill()
        try:
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
