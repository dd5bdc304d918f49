# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of images that other programs have made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from debian_packages import MissingPackage
from foreign.sid import Sid, debian_sid
from foreign.sif_registry import sif_registry
from foreign.workshop import Workshop
from needs import need
from stand_ins import serve_registry

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap


@pytest.fixture(scope="session")
def sid(tmp_path_factory: pytest.TempPathFactory) -> Sid:
    """Programs of Debian sid: Apptainer, Charliecloud, oras, umoci, squashfs-tools and others."""
    try:
        bwrap = find_bubblewrap(None).path
        return debian_sid(bwrap, tmp_path_factory.getbasetemp())
    except (MissingPackage, SandboxError) as error:
        need(str(error))


@pytest.fixture(scope="session")
def workshop(sid: Sid, registry: str) -> Workshop:
    """What the functions of `foreign` make images with."""
    return Workshop(sid, registry)


@pytest.fixture(scope="session")
def registry_of_sifs(workshop: Workshop) -> Iterator[str]:
    """The address of a registry with what sif_registry() has pushed."""
    with serve_registry(sif_registry(workshop)) as address:
        yield address
