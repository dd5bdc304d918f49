# SPDX-License-Identifier: Apache-2.0
"""Opens what the settings name."""

from __future__ import annotations

from cwl_udss.images.store.store import Store
from cwl_udss.settings.settings import Settings


def open_store(settings: Settings) -> Store:
    """Return the store that the settings name."""
    return Store(
        settings.store,
        libraries=settings.other_stores,
        format=settings.format,
        compression=settings.compression,
        keeps_layers=settings.keep_layers,
    )
