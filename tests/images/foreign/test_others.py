# SPDX-License-Identifier: Apache-2.0
"""Images of Charliecloud and enroot, and SIFs in a registry, are what tests take them for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import requests
from foreign import directories
from foreign.sif_registry import REPOSITORY, SIF_CONFIG, SIF_LAYER
from foreign.sifs import OTHER_MACHINE, THIS_MACHINE, sif_of_archive
from foreign.workshop import CONFIG, Workshop

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def test_charliecloud_says_what_an_image_is_for(workshop: Workshop) -> None:
    root = directories.charliecloud_directory(workshop)
    metadata = json.loads((root / "ch/metadata.json").read_text())
    assert metadata["env"] == {"GREETING": "hello world"}
    assert metadata["entrypoint"] == CONFIG["Entrypoint"]
    assert metadata["cmd"] == CONFIG["Cmd"]
    assert metadata["cwd"] == CONFIG["WorkingDir"]
    assert metadata["labels"] == CONFIG["Labels"]
    assert (root / "ch/environment").read_text().strip() == "GREETING=hello world"
    assert (root / "ch/entrypoint").read_bytes().startswith(b"angi")


def test_charliecloud_packs_its_directory(workshop: Workshop) -> None:
    image = directories.charliecloud_squashfs(workshop)
    assert "Block size 65536" in workshop.sid.run("unsquashfs", "-stat", image).stdout
    shown = workshop.sid.run("unsquashfs", "-cat", image, "ch/environment").stdout
    assert shown.strip() == "GREETING=hello world"


def test_enroot_keeps_the_configuration_in_etc(workshop: Workshop) -> None:
    image = directories.enroot_squashfs(workshop)
    said = workshop.sid.run("unsquashfs", "-stat", image).stdout
    assert {"Compression lzo", "Data is uncompressed"} <= {*said.splitlines()}
    environment = workshop.sid.run("unsquashfs", "-cat", image, "etc/environment").stdout
    assert environment.splitlines() == CONFIG["Env"]
    rc = workshop.sid.run("unsquashfs", "-cat", image, "etc/rc").stdout
    assert "    exec /bin/echo 'the entry point' 'two words' last\n" in rc


def manifest(registry: str, tag: str, media_type: str = MANIFEST) -> dict[str, Any]:
    answer = requests.get(
        f"http://{registry}/v2/{REPOSITORY}/manifests/{tag}",
        headers={"Accept": media_type},
        timeout=30,
    )
    answer.raise_for_status()
    document: dict[str, Any] = answer.json()
    assert document["mediaType"] == media_type
    return document


def test_a_sif_is_pushed_as_a_layer(registry_of_sifs: str, workshop: Workshop) -> None:
    digest = hashlib.sha256(sif_of_archive(workshop).read_bytes()).hexdigest()
    for tag in ("apptainer", "oras", "this", "other"):
        [layer] = manifest(registry_of_sifs, tag)["layers"]
        assert layer["mediaType"] == SIF_LAYER
        assert layer["digest"] == f"sha256:{digest}"


def test_the_config_says_who_has_pushed_it(registry_of_sifs: str) -> None:
    configs = {
        tag: manifest(registry_of_sifs, tag)["config"]["mediaType"]
        for tag in ("apptainer", "oras", "this")
    }
    assert configs == {
        "apptainer": SIF_CONFIG,
        "oras": SIF_CONFIG,
        "this": "application/vnd.oci.image.config.v1+json",
    }


def test_an_index_says_for_which_machines(registry_of_sifs: str) -> None:
    machines = {
        tag: [
            entry.get("platform", {}).get("architecture")
            for entry in manifest(registry_of_sifs, tag, INDEX)["manifests"]
        ]
        for tag in ("index", "plain-index")
    }
    other, this = OTHER_MACHINE[1], THIS_MACHINE[1]
    assert machines == {"index": [other, this], "plain-index": [other, None]}
