# SPDX-License-Identifier: Apache-2.0
"""SIF files in a registry, pushed by Apptainer and by oras."""

from __future__ import annotations

import json
from pathlib import Path

from foreign.sifs import OTHER_MACHINE, THIS_MACHINE, sif_of_archive
from foreign.workshop import Workshop
from stand_ins import serve_registry

REPOSITORY = "tests/busybox"
SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
SIF_CONFIG = "application/vnd.sylabs.sif.config.v1+json"


def sif_registry(workshop: Workshop) -> Path:
    """The data of a registry that has REPOSITORY with the tags

    - `apptainer`: pushed by `apptainer push oras://…`: an OCI manifest whose config, `{}`, is of
      the type SIF_CONFIG and whose only layer is the file, of the type SIF_LAYER;
    - `oras`: pushed by `oras push --config`, the same but for a date as an annotation;
    - `this`, `other`: pushed by `oras push --artifact-platform` for this machine and for another:
      the config has the media type of an image's configuration, and nothing but the machine;
    - `index`: the index that `oras manifest index create` makes of these two, `other` first;
    - `plain-index`: an index of `other` and `apptainer`, of which the latter has no platform.

    All are the file sif_of_archive(), which is for this machine.
    """

    def make(data: Path) -> None:
        data.mkdir()
        with serve_registry(data) as address:
            _push(workshop, data.parent, f"{address}/{REPOSITORY}")

    return workshop.keep("registry", make)


def _push(workshop: Workshop, work: Path, repository: str) -> None:
    sid, sif = workshop.sid, sif_of_archive(workshop)
    sid.run("apptainer", "push", "--no-https", sif, f"oras://{repository}:apptainer")
    (work / "config.json").write_text(json.dumps({}))
    # oras makes the name a title, and wants one that is in its working directory.
    (work / sif.name).hardlink_to(sif)
    file = f"{sif.name}:{SIF_LAYER}"

    def oras(*words: str) -> None:
        sid.run("oras", *words, cwd=work)

    oras(
        *("push", "--plain-http", "--config", f"config.json:{SIF_CONFIG}"),
        f"{repository}:oras",
        file,
    )
    for tag, (_, name) in (("this", THIS_MACHINE), ("other", OTHER_MACHINE)):
        kind = ["--artifact-type", SIF_LAYER, "--artifact-platform", f"linux/{name}"]
        oras("push", "--plain-http", *kind, f"{repository}:{tag}", file)
    create = ["manifest", "index", "create", "--plain-http"]
    oras(*create, f"{repository}:index", "other", "this")
    oras(*create, f"{repository}:plain-index", "other", "apptainer")
