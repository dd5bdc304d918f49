# SPDX-License-Identifier: Apache-2.0
"""What other programs call the file or directory of an image, and what that proves. Pure: a name
in, relative paths out."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator

from cwl_udss.images.libraries import rules
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.records import record

_LONGEST_NAME = 255  # bytes of a name in a directory: more there is nowhere


class Proof(enum.Enum):
    """What says which image it is that has such a name."""

    NAME = "its name"
    """Only that: it may be of any day, and of anything."""
    ADDRESS = "its address"
    """It is called by the digest that was asked for, by the program which got that."""
    LINK = "its link"
    """The name is a link, to what is called by the digest of the image's configuration."""


class Kind(enum.Enum):
    """What a directory has."""

    SIF = "SIF images"
    SQUASHFS = "SquashFS files"
    DIRECTORY = "directories"
    ARCHIVE = "archives of docker save"


@record(frozen=True, kw_only=True)
class Naming:
    """A rule by which a program calls the images in a directory of its own."""

    name: str
    program: str
    """Whose rule it is, for people."""
    rule: Callable[[str, Platform], Iterator[str]]
    """Paths below the directory, the best first."""
    kind: Kind = Kind.SIF
    proof: Proof = Proof.NAME
    mark: str = ""
    """What a directory has in it that is an image."""
    is_filled_by_others: bool = False
    """Nobody but its program may put anything there."""

    def paths(self, text: str, platform: Platform) -> tuple[str, ...]:
        """Return where the image that a person calls so may be, below the directory."""
        found = dict.fromkeys(self.rule(text, platform))
        return tuple(path for path in found if _is_inside(path))


def _is_inside(path: str) -> bool:
    """Whether it is a path that leads nowhere but into its directory."""
    parts = path.split("/")
    return "\0" not in path and all(
        part not in ("", ".", "..") and len(os.fsencode(part)) <= _LONGEST_NAME for part in parts
    )


_ALL = (
    Naming(name="cwltool", program="cwltool and cwl-utils", rule=rules.cwltool),
    Naming(name="cwltool-3.2", program="cwltool until 3.2", rule=rules.cwltool_3_2),
    Naming(name="cwl-utils", program="cwl-utils until 0.42", rule=rules.cwl_utils),
    Naming(
        name="cwl-docker-extract",
        program="cwl-docker-extract",
        rule=rules.docker_extract,
        kind=Kind.ARCHIVE,
    ),
    Naming(
        name="sandboxes",
        program="cwltool (directories)",
        mark=".singularity.d",
        rule=rules.sandboxes,
        kind=Kind.DIRECTORY,
    ),
    Naming(name="nextflow", program="Nextflow", rule=rules.nextflow),
    Naming(name="nf-core", program="nf-core pipelines download", rule=rules.nf_core),
    Naming(name="snakemake", program="Snakemake", rule=rules.snakemake),
    Naming(name="miniwdl", program="miniwdl and Toil", rule=rules.miniwdl),
    Naming(
        name="apptainer-cache",
        program="Apptainer",
        rule=rules.apptainer_cache,
        proof=Proof.ADDRESS,
        is_filled_by_others=True,
    ),
    Naming(
        name="singularity-cache",
        program="SingularityCE",
        rule=rules.singularity_cache,
        proof=Proof.ADDRESS,
        is_filled_by_others=True,
    ),
    Naming(name="galaxy", program="Galaxy", rule=rules.galaxy),
    Naming(name="galaxy-depot", program="Galaxy's depot", rule=rules.galaxy_depot),
    Naming(
        name="galaxy-cvmfs",
        program="Galaxy's depot by CVMFS",
        rule=rules.galaxy_cvmfs,
        is_filled_by_others=True,
    ),
    Naming(
        name="unpacked",
        program="DUCC, as unpacked.cern.ch",
        rule=rules.unpacked,
        kind=Kind.DIRECTORY,
        proof=Proof.LINK,
        is_filled_by_others=True,
    ),
    Naming(
        name="osg",
        program="the Open Science Grid",
        rule=rules.osg,
        kind=Kind.DIRECTORY,
        is_filled_by_others=True,
    ),
    Naming(name="enroot", program="enroot", rule=rules.enroot, kind=Kind.SQUASHFS),
    Naming(
        name="charliecloud", program="Charliecloud", rule=rules.charliecloud, kind=Kind.DIRECTORY
    ),
)

NAMINGS = {naming.name: naming for naming in _ALL}
