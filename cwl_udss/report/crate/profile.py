# SPDX-License-Identifier: Apache-2.0
"""The versions of the Workflow Run RO-Crate profiles: they differ in what is here, no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TERMS = "https://w3id.org/ro/terms/workflow-run"
TERMS_CONTEXT = f"{TERMS}/context"
METADATA = "ro-crate-metadata.json"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A version."""

    version: str
    ro_crate: str
    workflow_ro_crate: str
    profile_types: tuple[str, ...]
    """Of an entity that is a profile."""


_PROFILES = (
    Profile(
        version="0.6",
        ro_crate="1.3",
        workflow_ro_crate="1.1",
        profile_types=("CreativeWork", "Profile"),
    ),
    # Validators know nothing newer: rocrate-validator's issue 201.
    Profile(
        version="0.5", ro_crate="1.1", workflow_ro_crate="1.0", profile_types=("CreativeWork",)
    ),
)
PROFILES: Mapping[str, Profile] = {profile.version: profile for profile in _PROFILES}
