# SPDX-License-Identifier: Apache-2.0
"""A run's inputs, outputs and surroundings, as a report has them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil

import cwl_udss
from cwl_udss.filesystems.filesystem import look_at
from cwl_udss.report.nextflow import show_memory
from cwl_udss.settings.settings import Settings

_KEPT = ("class", "basename", "location", "path", "size", "checksum", "secondaryFiles", "listing")
_MOST_HASHED = 1 << 30
"""Of all files together: a second or two."""
_CHUNK = 1 << 20


def plain_object(value: Any) -> Any:
    """Return a CWL object without what people have no use for, and as JSON has it."""
    if isinstance(value, Mapping):
        is_file = value.get("class") in ("File", "Directory")
        return {
            str(name): plain_object(part)
            for name, part in value.items()
            if not is_file or name in _KEPT
        }
    if isinstance(value, list | tuple):
        return [plain_object(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def with_checksums(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs with the checksums and sizes of their files, as far as that is soon done; they
    are written as CWL's are."""
    left = _MOST_HASHED

    def completed(value: Any) -> Any:
        nonlocal left
        if isinstance(value, list):
            return [completed(part) for part in value]
        if not isinstance(value, dict):
            return value
        made = {name: completed(part) for name, part in value.items()}
        path = _local_path(made) if made.get("class") == "File" else None
        if path is None:
            return made
        with contextlib.suppress(OSError):
            made.setdefault("size", path.stat().st_size)
            if "checksum" not in made and path.is_file() and made["size"] <= left:
                left -= made["size"]
                made["checksum"] = _checksum(path)
        return made

    return {name: completed(value) for name, value in inputs.items()}


def _local_path(file: Mapping[str, Any]) -> Path | None:
    location = str(file.get("location") or file.get("path") or "")
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(location) if os.path.isabs(location) else None


def _checksum(path: Path) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return f"sha1${digest.hexdigest()}"


def machine_facts(settings: Settings) -> dict[str, str]:
    """Return what this machine is, and what runs on it."""
    facts = {
        "cwl-udss": cwl_udss.__version__,
        "cwltool": version("cwltool"),
        "Python": platform.python_version(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": f"{os.cpu_count()} ({_processor()})",
        "memory": show_memory(psutil.virtual_memory().total),
    }
    places = {"store": settings.store, "scratch": settings.scratch, "work": Path.cwd()}
    for name, path in places.items():
        if path is not None:
            with contextlib.suppress(OSError):
                facts[f"filesystem of {name}"] = f"{look_at(path).type_name}, at {path}"
    return facts


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()
