# SPDX-License-Identifier: Apache-2.0
"""Manifests: what is an image, for whom, and what is something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_udss.errors import ImageError, InvalidImage
from cwl_udss.images.manifest import (
    Descriptor,
    ImageIndex,
    ImageManifest,
    Platform,
    check_platform,
    choose_platform,
    parse_config,
    parse_manifest,
)

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
AMD64 = Platform(os="linux", architecture="amd64")


def descriptor(media_type: str, **fields: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": "sha256:" + "a" * 64, "size": 3, **fields}


def manifest(**fields: Any) -> bytes:
    content = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": descriptor(f"{OCI}.config.v1+json"),
        "layers": [descriptor(f"{OCI}.layer.v1.tar+gzip")],
        **fields,
    }
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("config", "layer"),
    [
        (f"{OCI}.config.v1+json", f"{OCI}.layer.v1.tar"),
        (f"{OCI}.config.v1+json", f"{OCI}.layer.v1.tar+gzip"),
        (f"{OCI}.config.v1+json", f"{OCI}.layer.v1.tar+zstd"),
        (f"{DOCKER}.container.image.v1+json", f"{DOCKER}.image.rootfs.diff.tar.gzip"),
        (f"{DOCKER}.container.image.v1+json", f"{DOCKER}.image.rootfs.diff.tar.zstd"),
    ],
)
def test_images(config: str, layer: str) -> None:
    parsed = parse_manifest(
        manifest(config=descriptor(config), layers=[descriptor(layer)] * 130), ""
    )
    assert isinstance(parsed, ImageManifest)
    assert len(parsed.layers) == 130


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"<html>", "not JSON"),
        (b"[1]", "malformed"),
        (json.dumps({"schemaVersion": 1, "fsLayers": []}).encode(), "schema 1"),
        (manifest(config=descriptor("application/vnd.cncf.helm.config.v1+json")), "helm"),
        (manifest(config=descriptor("application/vnd.sylabs.sif.config.v1+json")), "sif"),
        (manifest(layers=[descriptor("application/octet-stream")]), "octet-stream"),
        (
            manifest(layers=[descriptor(f"{DOCKER}.image.rootfs.foreign.diff.tar.gzip")]),
            "may not distribute",
        ),
        (
            manifest(layers=[descriptor(f"{OCI}.layer.v1.tar", urls=["https://x"])]),
            "may not distribute",
        ),
        (manifest(layers=[{**descriptor(f"{OCI}.layer.v1.tar"), "size": -1}]), "no size"),
        (
            manifest(layers=[{**descriptor(f"{OCI}.layer.v1.tar"), "digest": "sha256:../x"}]),
            "no sha256 digest",
        ),
        (manifest(layers=3), "no list"),
        (manifest(config=None), "malformed"),
    ],
)
def test_what_is_no_image(document: bytes, message: str) -> None:
    with pytest.raises(InvalidImage, match=message):
        parse_manifest(document, f"{OCI}.manifest.v1+json")


def index(*platforms: str) -> ImageIndex:
    entries = []
    for number, text in enumerate(platforms):
        os, architecture, variant = [*text.split("/"), ""][:3]
        entries.append(
            (
                Descriptor(media_type="", digest=f"sha256:{number}", size=1),
                Platform(os=os, architecture=architecture, variant=variant),
            )
        )
    return ImageIndex(entries=tuple(entries))


@pytest.mark.parametrize(
    ("platforms", "wanted", "chosen"),
    [
        (["linux/arm64", "linux/amd64"], "linux/amd64", 1),
        (["unknown/unknown", "linux/amd64"], "linux/amd64", 1),
        (["linux/arm64", "linux/arm64/v8"], "linux/arm64/v8", 1),
        (["linux/arm64"], "linux/arm64/v8", 0),
        (["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", 1),
        (["windows/amd64", "linux/amd64"], "linux/amd64", 1),
    ],
)
def test_choosing_a_platform(platforms: list[str], wanted: str, chosen: int) -> None:
    os, architecture, variant = [*wanted.split("/"), ""][:3]
    platform = Platform(os=os, architecture=architecture, variant=variant)
    assert choose_platform(index(*platforms), platform).digest == f"sha256:{chosen}"


def test_a_platform_that_is_not_there() -> None:
    offered = index("linux/arm64", "linux/s390x", "unknown/unknown")
    with pytest.raises(ImageError, match=r"for linux/amd64, only for linux/arm64, linux/s390x"):
        choose_platform(offered, AMD64)


def test_a_list_is_known_by_what_is_in_it() -> None:
    document = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    assert parse_manifest(document, "text/plain") == ImageIndex(entries=())


@pytest.mark.parametrize(
    ("offered", "accepted"),
    [
        ({"os": "linux", "architecture": "amd64"}, True),
        ({"os": "linux", "architecture": ""}, True),
        ({}, True),
        ({"os": "linux", "architecture": "arm64"}, False),
        ({"os": "windows", "architecture": "amd64"}, False),
    ],
)
def test_an_image_for_another_machine(offered: dict[str, str], accepted: bool) -> None:
    config = parse_config(json.dumps(offered).encode())
    if accepted:
        check_platform(config, AMD64)
    else:
        with pytest.raises(ImageError, match="this machine is linux/amd64"):
            check_platform(config, AMD64)


def test_configuration() -> None:
    config = parse_config(
        json.dumps(
            {
                "os": "linux",
                "architecture": "amd64",
                "config": {
                    "Env": ["A=b=c", "EMPTY=", "=odd"],
                    "Entrypoint": ["/e"],
                    "Cmd": None,
                    "WorkingDir": "/w",
                    "User": "1000",
                },
                "rootfs": {"diff_ids": ["sha256:x"]},
            }
        ).encode()
    )
    assert config.environment == ("A=b=c", "EMPTY=")
    assert (config.entrypoint, config.command) == (("/e",), ())
    assert (config.working_directory, config.user) == ("/w", "1000")
    assert config.diff_ids == ("sha256:x",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("schemaVersion", "mediaType", "config", "layers", "manifests", "digest"),
                    *("size", "platform", "os", "Env", "rootfs", "diff_ids"),
                )
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_parsed_or_refused(content: Any) -> None:
    document = json.dumps(content).encode()
    for parse in (lambda d: parse_manifest(d, ""), parse_config):
        try:
            parse(document)
        except ImageError as error:
            assert str(error)
