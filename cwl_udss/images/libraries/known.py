# SPDX-License-Identifier: Apache-2.0
"""Where other programs keep images, as their own variables and the paths by which sites know them
say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cwl_udss.images.libraries.place import LibraryPlace
from cwl_udss.records import record

_CVMFS = Path("/cvmfs")

# Those first that prove a digest, then those whose names have a whole tag in them.
_CACHES = (
    ("APPTAINER_CACHEDIR", ".apptainer", "apptainer-cache"),
    ("SINGULARITY_CACHEDIR", ".singularity", "singularity-cache"),
)
_REPOSITORIES = (
    ("unpacked.cern.ch", "unpacked"),
    ("singularity.galaxyproject.org", "galaxy-cvmfs"),
    ("singularity.opensciencegrid.org", "osg"),
)
_VARIABLES = (
    ("CWL_SINGULARITY_IMAGES", "sandboxes"),
    ("CWL_SINGULARITY_CACHE", "cwltool"),
    ("NXF_SINGULARITY_LIBRARYDIR", "nextflow"),
    ("NXF_APPTAINER_LIBRARYDIR", "nextflow"),
    ("NXF_SINGULARITY_CACHEDIR", "nextflow"),
    ("NXF_APPTAINER_CACHEDIR", "nextflow"),
    ("MINIWDL__SINGULARITY__IMAGE_CACHE", "miniwdl"),
    ("NXF_CHARLIECLOUD_CACHEDIR", "charliecloud"),
    ("CH_IMAGE_STORAGE", "charliecloud"),
)


@record(frozen=True, kw_only=True)
class KnownPlace:
    """A library that nobody has named to us; it need not be there."""

    place: LibraryPlace
    origin: str
    """Why it is looked at, for people."""


def known_places(
    environment: Mapping[str, str], home: Path, cvmfs: Path = _CVMFS
) -> tuple[KnownPlace, ...]:
    """Return where images may be, those that prove most first, each place once."""
    found: dict[LibraryPlace, KnownPlace] = {}
    for known in _known(environment, home, cvmfs):
        found.setdefault(known.place, known)
    return tuple(found.values())


def _known(environment: Mapping[str, str], home: Path, cvmfs: Path) -> Iterator[KnownPlace]:
    for variable, directory, naming in _CACHES:
        path = environment.get(variable)
        yield _place(naming, path or home / directory, f"${variable}" if path else "its own place")
    for repository, naming in _REPOSITORIES:
        yield _place(naming, cvmfs / repository, "CVMFS")
    for variable, naming in _VARIABLES:
        path = environment.get(variable)
        if path:
            yield _place(naming, path, f"${variable}")
    # Where the first is not set cwltool has both in one directory.
    cache = environment.get("CWL_SINGULARITY_CACHE")
    if cache and not environment.get("CWL_SINGULARITY_IMAGES"):
        yield _place("sandboxes", cache, "$CWL_SINGULARITY_CACHE")


def _place(naming: str, path: Path | str, origin: str) -> KnownPlace:
    return KnownPlace(place=LibraryPlace(naming=naming, path=Path(path).absolute()), origin=origin)
