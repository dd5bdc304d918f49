# SPDX-License-Identifier: Apache-2.0
"""What a job shows its tool of the host: volumes of a container to cwltool, binds to a sandbox."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import cast

from cwltool.context import RuntimeContext
from cwltool.docker import DockerCommandLineJob
from cwltool.pathmapper import MapperEnt
from cwltool.utils import create_tmp_dir, ensure_writable

from cwl_udss.engine.inputs.path_mapper import empty_directories
from cwl_udss.engine.jobs.recording import RecordedJob
from cwl_udss.sandbox import TEMPORARY_DIRECTORY, Bind
from cwl_udss.steps.shared import Steps


class JobWithBinds(RecordedJob, DockerCommandLineJob):
    """A job whose volumes are binds: cwltool's hooks for them."""

    _steps: Steps

    def _binds(self, context: RuntimeContext) -> tuple[Bind, ...]:
        binds: list[Bind] = []
        # cwltool's own methods fill a list of arguments through append_volume(), which is ours.
        volumes = cast(list[str], binds)
        outdir, tmpdir = os.path.realpath(self.outdir), os.path.realpath(self.tmpdir)
        self.append_volume(volumes, outdir, self.builder.outdir, writable=True)
        self.append_volume(volumes, tmpdir, TEMPORARY_DIRECTORY, writable=True)
        any_path_okay = self.builder.get_requirement("DockerRequirement")[1] or False
        for mapper, anywhere in ((self.pathmapper, True), (self.generatemapper, any_path_okay)):
            if mapper is not None:
                self.add_volumes(
                    mapper,
                    volumes,
                    tmpdir_prefix=context.tmpdir_prefix,
                    secret_store=context.secret_store,
                    any_path_okay=anywhere,
                )
        for bind in self._updated(binds):
            self._steps.made.remember(bind.source)
        return tuple(binds)

    def _literal_directories(self) -> Iterator[str]:
        for mapper in filter(None, (self.pathmapper, self.generatemapper)):
            yield from empty_directories(mapper, self.builder.outdir)

    def add_file_or_directory_volume(
        self, runtime: list[str], volume: MapperEnt, host_outdir_tgt: str | None
    ) -> None:
        """Add what shows an input (cwltool's hook)."""
        if not volume.resolved.startswith("_:"):
            super().add_file_or_directory_volume(runtime, volume, host_outdir_tgt)
            if volume.type == "Directory":
                binds = self._steps.made.binds(volume.resolved, volume.target)
                cast(list[Bind], runtime).extend(binds)
        elif host_outdir_tgt:
            os.makedirs(host_outdir_tgt, exist_ok=True)

    def add_writable_directory_volume(
        self,
        runtime: list[str],
        volume: MapperEnt,
        host_outdir_tgt: str | None,
        tmpdir_prefix: str,
    ) -> None:
        """Add what shows a directory that is to be written to (cwltool's hook)."""
        if volume.resolved.startswith("_:") or self.inplace_update:
            super().add_writable_directory_volume(runtime, volume, host_outdir_tgt, tmpdir_prefix)
            return
        place = host_outdir_tgt or os.path.join(create_tmp_dir(tmpdir_prefix), "copy")
        self._steps.made.copy(volume.resolved, place)
        ensure_writable(place, include_root=True)
        if host_outdir_tgt is None:
            self.append_volume(runtime, place, volume.target, writable=True)

    @staticmethod
    def append_volume(
        runtime: list[str],
        source: str,
        target: str,
        writable: bool = False,
        skip_mkdirs: bool = False,
    ) -> None:
        """Add a bind mount (cwltool's hook)."""
        if not skip_mkdirs and not os.path.exists(source):
            os.makedirs(source)
        cast(list[Bind], runtime).append(Bind(source=source, destination=target, writable=writable))

    def _updated(self, binds: Collection[Bind]) -> Iterator[Bind]:
        """What the step may change in place."""
        own = (self.builder.outdir, TEMPORARY_DIRECTORY)
        yield from (bind for bind in binds if bind.writable and bind.destination not in own)
