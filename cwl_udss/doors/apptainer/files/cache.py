# SPDX-License-Identifier: Apache-2.0
"""`apptainer cache`: the store, which is what images are kept in here."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from cwl_udss.doors.apptainer.command_line.parser import Given
from cwl_udss.doors.apptainer.session import Session
from cwl_udss.errors import UdssError
from cwl_udss.images.maintenance import prune
from cwl_udss.images.store.image import StoredImage
from cwl_udss.settings.opening import open_store

_DAY = 86400
_UNITS = ("KiB", "MiB", "GiB", "TiB")
_QUESTION = """This will delete everything in your store that no run uses.
Hint: You can see exactly what would be deleted by canceling and using the --dry-run option.
Do you want to continue? [y/N] """


def list_cache(given: Given, session: Session) -> int:
    """Be `apptainer cache list`."""
    images = open_store(session.settings).images()
    if given.flag("verbose"):
        print(f"{'NAME':<24} {'DATE CREATED':<22} {'SIZE':<16} TYPE")
        for image in images:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(_time(image)))
            name = image.digest.partition(":")[2][:22]
            print(f"{name:<24} {when:<22} {_size([image]):<16} oci-tmp")
        print()
    print(
        f"There are {len(images)} container file(s) using {_size(images)} and 0 oci blob file(s) "
        f"using {_size([])} of space\nTotal space used: {_size(images)}"
    )
    return 0


def clean_cache(given: Given, session: Session) -> int:
    """Be `apptainer cache clean`: remove what no run uses. Raises UdssError."""
    days = given.value("days") or "0"
    if not days.isdecimal():
        raise UdssError(f"{days!r} is no number of days")
    store = open_store(session.settings)
    oldest = time.time() - int(days) * _DAY
    if given.flag("dry-run"):
        for image in store.images():
            if (image.last_used or 0) < oldest:
                print(f"Removing {image.digest} {' '.join(image.references)}".rstrip())
        return 0
    if not given.flag("force") and not _is_wanted():
        return 0
    for removal in prune(store, older_than=int(days) * _DAY, most_bytes=None):
        print(removal.problem or f"Removing {removal.image.digest}", file=sys.stderr)
    return 0


def _is_wanted() -> bool:
    print(_QUESTION, end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _time(image: StoredImage) -> float:
    return image.path.parent.stat().st_mtime


def _size(images: Iterable[StoredImage]) -> str:
    size = sum(image.size for image in images) / 1024
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.2f} {_UNITS[unit]}"
