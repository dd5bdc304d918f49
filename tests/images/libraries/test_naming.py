# SPDX-License-Identifier: Apache-2.0
"""What other programs call images: asked of the programs themselves where these can be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cwl_udss.images.libraries.naming import NAMINGS
from cwl_udss.images.manifests.manifest import Platform

AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64", variant="v8")
HEX = "3a1f" * 16
SAMTOOLS = "quay.io/biocontainers/samtools:1.17--h_0"
REFERENCES = (
    *("debian", "debian:12", "debian:stable-slim", "library/debian:12", "docker.io/debian"),
    *("docker.io/library/debian:12", "a/b", "a/s/b:1", "a_b/c:1", "a/b_c:1", "a__b:1", "a_s_b"),
    *("quay.io/biocontainers/samtools", SAMTOOLS, f"quay.io/x@sha256:{HEX}", f"x@sha256:{HEX}"),
    *(f"x:1@sha256:{HEX}", "localhost:5000/x", "localhost:5000/x:1", "localhost/x/y_z:1.0-rc.1"),
    *("ghcr.io/owner/deep/path/name:v1.2.3", "host.example:443/a/b/c", "x:UPPER", "x:_under"),
    *("x-y.z/w:1", "gcr.io/google-containers/pause:3.9", "n/___:1", "_s_/x:1", "x/_s_:1"),
    *("nvcr.io/nvidia/pytorch:23.10-py3", "a/b/c/d/e", "a_b_c", "a--b", "1/2:3", "x:1_2"),
    *("community.wave.seqera.io/library/bwa_samtools:2f1b", "docker://debian", f"docker://{HEX}:1"),
    *("docker://quay.io/biocontainers/samtools:1", "docker://localhost:5000/a_b", "s/s_s/_s"),
)


def paths(naming: str, text: str, platform: Platform = AMD64) -> tuple[str, ...]:
    return NAMINGS[naming].paths(text, platform)


@pytest.fixture
def singularity(tmp_path: Path) -> dict[str, str]:
    """An environment with what passes for Singularity: it makes the files that it is to pull."""
    program = tmp_path / "bin/singularity"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'case "$1" in --version) echo "apptainer version 1.4.5";; inspect) exit 1;; esac\n'
        'while [ $# -gt 1 ]; do if [ "$1" = --name ]; then : > "$2"; fi; shift; done\n'
    )
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


def test_cwltool_itself_calls_them_so(singularity: dict[str, str], tmp_path: Path) -> None:
    """One after the other is pulled into a directory of its own."""
    script = """if True:
        import json, os, sys
        from cwltool.singularity import SingularityCommandLineJob
        names = {}
        for number, reference in enumerate(json.load(sys.stdin)):
            os.environ["CWL_SINGULARITY_CACHE"] = cache = os.path.join(sys.argv[1], str(number))
            os.mkdir(cache)
            SingularityCommandLineJob.get_image({"dockerPull": reference}, True, "/tmp")
            names[reference] = os.listdir(cache)
        json.dump(names, sys.stdout)
    """
    (tmp_path / "caches").mkdir()
    made = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "caches")],
        input=json.dumps(REFERENCES),
        env=singularity,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    names = json.loads(made.stdout[made.stdout.index("{") :])
    assert {text: [paths("cwltool", text)[0]] for text in REFERENCES} == names


def test_what_cwltool_takes_of_older_ones(singularity: dict[str, str]) -> None:
    """Its own list, and no other: what may be another image's name is not taken."""
    script = """if True:
        import json, sys
        from cwl_utils.image_puller import DockerImagePuller, SingularityImagePuller
        json.dump({
            reference: [
                SingularityImagePuller(reference, None, "", False).get_image_name(),
                SingularityImagePuller(reference, None, "", False).get_alternate_image_names(),
                DockerImagePuller(reference, None, "", False).get_image_name(),
            ]
            for reference in json.load(sys.stdin)
        }, sys.stdout)
    """
    references = [text for text in REFERENCES if "://" not in text]
    tagged = {text: text if ":" in text else f"{text}:latest" for text in references}
    asked = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(list(tagged.values())),
        env=singularity,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(asked.stdout)
    for text in references:
        current, older, archive = answers[tagged[text]]
        assert list(paths("cwltool", text)) == list(dict.fromkeys([current, *older])), text
        assert paths("cwl-docker-extract", text) == (archive,)


@pytest.mark.parametrize(
    ("naming", "text", "expected"),
    [
        ("cwltool-3.2", "debian", ["debian_latest.sif"]),
        ("cwltool-3.2", SAMTOOLS, ["quay.io_biocontainers_samtools:1.17--h_0.sif"]),
        ("cwltool-3.2", "localhost:5000/x", ["localhost:5000_x.sif"]),
        ("cwl-utils", "debian", ["debian_latest.sif", "debian.sif"]),
        ("cwl-docker-extract", "debian", ["debian_latest.tar"]),
        ("cwl-utils", SAMTOOLS, ["quay.io_biocontainers_samtools_1.17--h_0.sif"]),
        ("sandboxes", SAMTOOLS, [SAMTOOLS]),
        ("sandboxes", "My Sandbox", ["My Sandbox"]),
        ("nextflow", "debian:12", ["debian-12.img"]),
        ("nextflow", "docker://debian", ["debian.img"]),
        ("nextflow", "oras://r.io/x.sif:1", ["r.io-x-1.sif"]),
        ("nextflow", "https://r.io/x:1.sif", ["r.io-x-1.sif"]),
        (
            "nextflow",
            SAMTOOLS,
            [
                "quay.io-biocontainers-samtools-1.17--h_0.img",
                "depot.galaxyproject.org-singularity-samtools-1.17--h_0.img",
            ],
        ),
        (
            "nextflow",
            "https://depot.galaxyproject.org/singularity/samtools:1.17--h_0",
            ["depot.galaxyproject.org-singularity-samtools-1.17--h_0.img"],
        ),
        (
            "nf-core",
            SAMTOOLS,
            [
                "biocontainers-samtools-1.17--h_0.img",
                "samtools-1.17--h_0.img",
                "quay.io-biocontainers-samtools-1.17--h_0.img",
                "depot.galaxyproject.org-singularity-samtools-1.17--h_0.img",
            ],
        ),
        (
            "nf-core",
            "community.wave.seqera.io/library/bwa:2f1b",
            ["bwa-2f1b.img", "community.wave.seqera.io-library-bwa-2f1b.img"],
        ),
        ("nf-core", "docker.io/x:1", ["docker.io-x-1.img"]),
        # md5sum of docker://debian:12, and of oras://r.io/x:1
        ("snakemake", "debian:12", ["51295327620b4d051de330c570b953e3.simg"]),
        ("snakemake", "docker://debian:12", ["51295327620b4d051de330c570b953e3.simg"]),
        ("snakemake", "oras://r.io/x:1", ["f05994f1b8feb789bce8580382c63490.simg"]),
        ("miniwdl", "debian:12", ["docker___debian_12.sif"]),
        ("miniwdl", SAMTOOLS, ["docker___quay.io_biocontainers_samtools_1.17--h_0.sif"]),
        ("galaxy", SAMTOOLS, ["mulled/samtools:1.17--h_0", "samtools:1.17--h_0"]),
        ("galaxy-depot", SAMTOOLS, ["samtools:1.17--h_0"]),
        (
            "galaxy-depot",
            "https://depot.galaxyproject.org/singularity/samtools%3A1.17--h_0",
            ["samtools:1.17--h_0"],
        ),
        # Docker Hub has other images of that name, and other registries may.
        ("galaxy-depot", "biocontainers/samtools:1.17--h_0", []),
        ("galaxy-depot", "ghcr.io/biocontainers/samtools:1.17--h_0", []),
        ("galaxy-depot", "quay.io/biocontainers/a/b:1", []),
        (
            "galaxy-cvmfs",
            SAMTOOLS,
            ["all/samtools:1.17--h_0", "s/a/samtools:1.17--h_0"],
        ),
        ("unpacked", SAMTOOLS, [SAMTOOLS]),
        (
            "unpacked",
            "debian",
            ["registry.hub.docker.com/library/debian:latest", "docker.io/library/debian:latest"],
        ),
        ("unpacked", f"ghcr.io/x@sha256:{HEX}", [f"ghcr.io/x:sha256:{HEX}"]),
        # A SIF in a registry is no image of Docker's.
        *((naming, "oras://quay.io/x:1", []) for naming in ("unpacked", "osg", "enroot", "galaxy")),
        *((naming, "oras://quay.io/x:1", []) for naming in ("cwltool", "miniwdl", "charliecloud")),
        ("osg", SAMTOOLS, ["biocontainers/samtools:1.17--h_0"]),
        ("osg", "docker.io/debian:12", ["library/debian:12"]),
        ("osg", "opensciencegrid/osgvo-el8", ["opensciencegrid/osgvo-el8:latest"]),
        (
            "enroot",
            SAMTOOLS,
            [
                "biocontainers+samtools+1.17--h_0.sqsh",
                "quay.io+biocontainers+samtools+1.17--h_0.sqsh",
            ],
        ),
        ("enroot", "debian", ["debian.sqsh", "debian+latest.sqsh"]),
        ("enroot", "debian:latest", ["debian+latest.sqsh"]),
        ("enroot", "library/debian:12", ["debian+12.sqsh", "library+debian+12.sqsh"]),
        (
            "charliecloud",
            SAMTOOLS,
            [
                "img/quay.io%biocontainers%samtools+1.17--h_0",
                "quay.io%biocontainers%samtools+1.17--h_0",
            ],
        ),
        (
            "charliecloud",
            "localhost:5000/x",
            [
                "img/localhost+5000%x",
                "localhost+5000%x",
                "img/localhost+5000%x+latest",
                "localhost+5000%x+latest",
            ],
        ),
        ("apptainer-cache", "debian:12", []),
        ("singularity-cache", "debian:12", []),
        (
            "singularity-cache",
            f"debian:12@sha256:{HEX}",
            [
                f"cache/oci-tmp/sha256:{HEX}",
                f"oci-tmp/sha256:{HEX}",
                f"cache/oci-sif/sha256:{HEX}",
                f"oci-sif/sha256:{HEX}",
            ],
        ),
    ],
)
def test_names(naming: str, text: str, expected: list[str]) -> None:
    assert list(paths(naming, text)) == expected


def test_apptainers_cache_is_by_digest_and_processor() -> None:
    """The checksums are those of `printf %s HEXamd64 | sha256sum`, and so on."""
    text = f"debian@sha256:{HEX}"
    assert paths("apptainer-cache", text) == (
        "cache/oci-tmp/0b1b10f86e8ab70c8f1910a1e4e871a26eafb0b96fc0f3c70ced753fbd3f040b",
        "oci-tmp/0b1b10f86e8ab70c8f1910a1e4e871a26eafb0b96fc0f3c70ced753fbd3f040b",
    )
    assert paths("apptainer-cache", text, ARM64)[::2] == (
        "cache/oci-tmp/8d8ff8dad739ca8fe9a30411f14419fcb3dc02c6250ded5e48ce07d1187f6086",
        "cache/oci-tmp/a6085c908cd9e2e2cc10ba2c8b9bd6300ea1f6a7796d0e60f4f11907313101c6",
    )


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(
    "text",
    [
        *("..", ".", "", "/", "/etc/passwd", "../x", "a/../b", "a/./b", "x\0y", "a//b", "/.."),
        *("docker://..", "docker:///etc/passwd", "x" * 300, "é" * 200, "\udcff", "https://"),
        "https://depot.galaxyproject.org/singularity/..%2Fx%3A1",
        "https://depot.galaxyproject.org/singularity/..:..",
    ],
)
def test_no_name_leads_out_of_the_directory(naming: str, text: str) -> None:
    for path in paths(naming, text):
        inside = os.path.normpath(os.path.join("/library", path))
        assert inside == f"/library/{path}"
        assert all(0 < len(os.fsencode(part)) <= 255 for part in path.split("/"))
        assert "\0" not in path
