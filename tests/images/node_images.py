# SPDX-License-Identifier: Apache-2.0
"""What uses a store's images on this machine, for tests."""

from __future__ import annotations

import os

from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.store.store import Store
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap


def node(store: Store) -> NodeImages:
    """Return what uses the store's images, with a scratch directory beside the store."""
    scratch = store.path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return NodeImages(
        store,
        lambda: find_bubblewrap(None),
        scratch=scratch,
        scratch_bytes=1 << 30,
        environment=os.environ,
    )
