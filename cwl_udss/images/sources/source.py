# SPDX-License-Identifier: Apache-2.0
"""An image as it is found, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cwl_udss.images.manifests.manifest import Descriptor


@dataclass(frozen=True, kw_only=True)
class Source:
    """An image as it is found: layers to be read, and what it says of itself."""

    name: str
    """For messages."""
    digest: str
    """The name in the store: of the platform's manifest, or of the configuration."""
    layers: tuple[Descriptor, ...]
    """The oldest first."""
    diff_ids: tuple[str, ...] | None
    """Digests of the uncompressed layers, as the configuration has them; None if it has none."""
    config_document: bytes
    """b"" of a file that has it in itself."""
    read: Callable[[Descriptor], Iterable[bytes]]
    """Gives a layer's bytes once, checked; called from several threads."""
    verb: str = "pull"
    """What is done, for the log."""
    remedy: str = "the image is damaged: have it pushed again"
    """What to do if a layer is damaged."""
    file_type: str = ""
    """If its one layer is a file with a root filesystem in it: what its maker calls that."""
