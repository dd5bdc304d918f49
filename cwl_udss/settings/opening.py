# SPDX-License-Identifier: Apache-2.0
"""Opens, or looks for, what the settings name."""

from __future__ import annotations

from collections.abc import Mapping

from cwl_udss.images.store.store import Store
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
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


def runtime_finder(settings: Settings, environment: Mapping[str, str]) -> RuntimeFinder:
    """Return what finds the runtime that the settings want."""
    return RuntimeFinder(
        wanted=settings.runtime,
        accepted=settings.accept,
        bwrap=settings.bwrap,
        scratch=settings.scratch,
        environment=environment,
        required=settings.required,
    )
