# SPDX-License-Identifier: Apache-2.0
"""One step's dealings with the cache: what it made before, shown again; what it has made, kept."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from cwl_udss.sandbox import Bind
from cwl_udss.steps.cache import KeptResult, StepCache, Unkept, show
from cwl_udss.steps.key import Step, StepKey, Unidentified, step_key
from cwl_udss.surroundings.outputs import View

_logger = logging.getLogger(__name__)


class StepReuse:
    """Finds, shows and keeps the result of one step."""

    def __init__(self, cache: StepCache, name: str, step: Step) -> None:
        """`name` is for the log; `step` is about to run."""
        self._cache = cache
        self._name = name
        self._step = step
        self._key: StepKey | None = None
        self.outputs: Path | None = None
        """Where the cache has what the step has made, if it has it."""

    def find(self) -> KeptResult | None:
        """Return what such a step has made before."""
        try:
            self._key = step_key(self._step, self._cache.contents)
        except Unidentified as error:
            _logger.warning("[job %s] is not cached: %s", self._name, error)
            return None
        return self._cache.find(self._key)

    def show(self, kept: KeptResult, directory: Path, logs: Path) -> View:
        """Put a result where the step would have made it; return what may be collected.

        `logs` is where the standard streams go, and are copied from; the output directory mostly.
        """
        _logger.info("[job %s] result from the cache: %s", self._name, kept.path)
        self._key = None  # there is nothing to keep
        self.outputs = kept.outputs
        outputs = Bind(source=str(kept.outputs), destination=str(kept.outputs))
        view = View((*self._step.sandbox.binds, outputs))
        show(kept, directory, view)
        if logs != directory:
            for name in filter(None, (self._step.stdout, self._step.stderr)):
                shutil.copyfile(kept.outputs / name, logs / name)
                (directory / name).unlink()
        return view

    def keep(self, directory: Path, exit_code: int) -> None:
        """Keep what is in the output directory of a step that has succeeded."""
        if self._key is None:
            return
        binds = self._step.sandbox.binds
        try:
            kept = self._cache.keep(self._key, directory, exit_code, binds)
        except (OSError, Unkept) as error:
            _logger.warning("[job %s] its result is not kept: %s", self._name, error)
            return
        if kept is not None:
            self.outputs = kept.outputs
            show(kept, directory, View(binds))
            _logger.debug("[job %s] result kept in the cache: %s", self._name, kept.path)


def open_linked(directory: Path) -> None:
    """Make a link to a directory a directory of links to what is in there."""
    if directory.is_symlink():
        shown = directory.resolve()
        directory.unlink()
        directory.mkdir()
        for entry in shown.iterdir():
            (directory / entry.name).symlink_to(entry)
