# SPDX-License-Identifier: Apache-2.0
"""What can be set: the values of one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cwl_udss.images.formats.names import Compression, ImageFormat
from cwl_udss.records import record

if TYPE_CHECKING:
    from cwl_udss.images.libraries.place import LibraryPlace
    from cwl_udss.images.libraries.trust import Trust


@record(frozen=True, kw_only=True)
class Settings:
    """What can be set; each field is an option `--udss-NAME`, a variable `CWL_UDSS_NAME` and a key
    of the configuration files."""

    store: Path
    """Directory of the converted images."""
    library: tuple[LibraryPlace, ...]
    """Where other images are, only read: stores, looked into before that, and other programs'."""
    library_trust: Trust
    """What must say which image it is that another program has."""
    known_libraries: bool
    """Other programs' places are looked for."""
    offline: bool
    """Never use the network."""
    format: ImageFormat | None
    """Of new images; None chooses by the store's filesystem."""
    compression: Compression
    keep_layers: bool
    """Keep the layers that were downloaded."""
    scratch: Path | None
    """A directory on this node; None looks for one."""
    scratch_images: int
    """How many bytes unpacked images may take there."""
    runtime: str
    """What makes sandboxes; `auto` tries."""
    accept: tuple[str, ...]
    """Weaknesses that it may have (see sandbox.Limit)."""
    required: Mapping[str, str]
    """Limits that it must not have, accepted or not, each with where that is said."""
    readable: tuple[Path, ...]
    """What tools without an image may read of this machine, besides its system."""
    bwrap: str | None
    """The `bwrap` program to use; None looks for one."""
    door_hide: tuple[str, ...]
    """What the commands with other programs' names show of this machine only if they are asked."""
    limit: tuple[str, ...]
    """Of what steps on this machine have no more than they ask for: memory, cores."""
    report: Path | None
    """A file to write a page to that tells of the run; None writes none."""
    trace_table: Path | None
    """A file to write a line to for each step that has ended; None writes none."""
    trace_raw: bool
    """With numbers only."""
    trace_events: Path | None
    """A file to write where the driver's time goes; None writes none."""
    batch: str | None
    """The batch system that runs the steps; None runs them here."""
    runs: Path
    """Directory of the runs whose steps are jobs, seen by all nodes."""
    batch_queue: str | None
    batch_account: str | None
    batch_project: str | None
    batch_options: tuple[str, ...]
    batch_chunk: str
    batch_select: bool
    batch_name: str
    batch_cores: int | None
    """Of steps that say nothing; so are `batch_memory` (MiB) and `batch_walltime` (seconds)."""
    batch_memory: int | None
    batch_walltime: int | None
    batch_jobs: int
    """How many may be in the queue at once."""
    batch_rate: float
    """How many may be submitted in a second."""
    batch_group: int
    """How many steps go into one job."""
    pilot: bool
    """Steps run inside allocations that stay."""
    pilot_nodes: int
    """Of an allocation."""
    pilot_allocations: int
    """How many at the most."""
    pilot_cores: int
    """Of a worker, which runs one step at a time."""
    retries: int
    retry_scale: float
    origins: Mapping[str, str]
    """Where each value came from, for `cwl-udss doctor`."""

    @property
    def other_stores(self) -> tuple[Path, ...]:
        """Those of the libraries that are stores of cwl-udss."""
        return tuple(place.path for place in self.library if place.is_store)
