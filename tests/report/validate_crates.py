# SPDX-License-Identifier: Apache-2.0
"""Validates crates by roc-validator, without a network: validate_crates.py CACHE PROFILE=DIR...

To be run where it is installed, and nothing else: it wants an older `rich` than our users have. The
contexts of contexts/ are public domain, as they say themselves; that of RO-Crate 1.3 is given.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import requests_cache
import urllib3
from requests.adapters import HTTPAdapter
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings

CONTEXTS = Path(__file__).with_name("contexts")


class FromFiles(HTTPAdapter):
    """Answers with what files have."""

    def __init__(self, files: dict[str, Path]) -> None:
        super().__init__()
        self._files = files

    def send(self, request: Any, *_: Any, **__: Any) -> Any:
        content = self._files[request.url].read_bytes()
        answer = urllib3.HTTPResponse(
            body=io.BytesIO(content),
            status=200,
            headers={"Content-Type": "application/ld+json"},
            preload_content=False,
            request_method="GET",
        )
        return self.build_response(request, answer)


def keep_contexts(cache: str, newest: str) -> None:
    """Put the contexts into the validator's cache."""
    files = {
        "https://w3id.org/ro/crate/1.1/context": CONTEXTS / "ro-crate-1.1.jsonld",
        "https://w3id.org/ro/crate/1.3/context": Path(newest),
        "https://w3id.org/ro/terms/workflow-run/context": CONTEXTS / "workflow-run.jsonld",
    }
    with requests_cache.CachedSession(cache, backend="sqlite", expire_after=-1) as session:
        session.mount("https://", FromFiles(files))
        for address in files:
            session.get(address, headers={"Accept": "application/ld+json, application/json"})


def problems(cache: str, profile: str, crate: str) -> list[str]:
    """What is wrong with a crate."""
    settings = ValidationSettings(
        rocrate_uri=crate,
        profile_identifier=profile,
        requirement_severity=Severity.REQUIRED,
        offline=True,
        cache_path=cache,
    )
    found = services.validate(settings).get_issues()
    return [
        f"{issue.check.identifier}: {issue.message} ({issue.violatingEntity})" for issue in found
    ]


if __name__ == "__main__":
    cache, newest, *crates = sys.argv[1:]
    keep_contexts(cache, newest)
    pairs = [crate.split("=", 1) for crate in crates]
    print(json.dumps({crate: problems(cache, profile, crate) for profile, crate in pairs}))
