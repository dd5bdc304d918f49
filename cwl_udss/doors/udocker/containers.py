# SPDX-License-Identifier: Apache-2.0
"""What `udocker create` has made: a name for an image. Nothing is written into it, so that it takes
no room, and every run begins with the image as it is.
"""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cwl_udss.errors import UdssError
from cwl_udss.machine.user_directories import user_cache

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Created:
    """A container."""

    identifier: str
    digest: str
    """Of its image, or the path of one that is used where it is."""
    image: str
    """As it was asked for."""
    name: str = ""


class Containers:
    """A user's containers: a file for each."""

    def __init__(self, environment: Mapping[str, str], home: Path) -> None:
        self._directory = user_cache(environment, home) / "udocker"

    def all(self) -> list[Created]:
        """Return all of them."""
        return sorted(self._read(), key=lambda created: created.identifier)

    def find(self, text: str) -> Created | None:
        """Return the one with an identifier or name."""
        named = (created for created in self._read() if text in (created.identifier, created.name))
        return next(named, None) if text else None

    def create(self, digest: str, image: str, name: str = "") -> Created:
        """Make one. Raises UdssError."""
        created = Created(identifier=str(uuid.uuid4()), digest=digest, image=image, name=name)
        self._keep(created)
        return created

    def rename(self, created: Created, name: str) -> None:
        """Give one a name. Raises UdssError."""
        self._keep(replace(created, name=name))

    def remove(self, created: Created) -> None:
        """Forget one."""
        self._path(created).unlink(missing_ok=True)

    def check_name(self, name: str) -> None:
        """Raise UdssError for what cannot be a name, or is one of another."""
        if not _NAME.fullmatch(name):
            raise UdssError("invalid container name or wrong format", f"choose another than {name}")
        if self.find(name) is not None:
            raise UdssError("container name already exists", f"remove it: udocker rm {name}")

    def _keep(self, created: Created) -> None:
        path = self._path(created)
        made = path.with_suffix(".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.write_text(json.dumps(asdict(created)), encoding="utf-8")
            made.rename(path)
        except OSError as error:
            raise UdssError(f"{path} cannot be written: {error.strerror}") from error

    def _read(self) -> Iterator[Created]:
        for path in self._directory.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # removed just now
                yield Created(**json.loads(path.read_text(encoding="utf-8")))

    def _path(self, created: Created) -> Path:
        return self._directory / f"{created.identifier}.json"
