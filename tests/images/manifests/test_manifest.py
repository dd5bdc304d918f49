# SPDX-License-Identifier: Apache-2.0
"""Manifests: what is an image, for whom, and what is something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_udss.errors import ImageError, InvalidImage, NoContainerImage
from cwl_udss.images.manifests.manifest import (
    ImageIndex,
    ImageManifest,
    IndexEntry,
    Platform,
    check_platform,
    parse_config,
    parse_image_config,
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
    "layer",
    [
        f"{OCI}.layer.v1.tar",
        f"{OCI}.layer.v1.tar+gzip",
        f"{OCI}.layer.v1.tar+zstd",
        f"{OCI}.layer.nondistributable.v1.tar",
        f"{OCI}.layer.nondistributable.v1.tar+gzip",
        f"{OCI}.layer.nondistributable.v1.tar+zstd",
        f"{DOCKER}.image.rootfs.diff.tar",
        f"{DOCKER}.image.rootfs.diff.tar.gzip",
        f"{DOCKER}.image.rootfs.diff.tar.zstd",
        f"{DOCKER}.image.rootfs.diff.tar.zst",
        f"{DOCKER}.image.rootfs.foreign.diff.tar",
        f"{DOCKER}.image.rootfs.foreign.diff.tar.gzip",
        f"{DOCKER}.container.image.rootfs.diff+x-gtar",
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-gzip",
        "application/gzip; charset=binary",
        "application/x-tar",
        "application/tar+gzip",
        "Application/X-Gtar",
        "",
    ],
)
def test_what_layers_are_called(layer: str) -> None:
    parsed = parse_manifest(manifest(layers=[descriptor(layer)] * 130))
    assert isinstance(parsed, ImageManifest)
    assert len(parsed.layers) == 130


CONFIGURATION = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["sha256:x"]}}


@pytest.mark.parametrize(
    "media_type",
    [
        f"{OCI}.config.v1+json",
        f"{DOCKER}.container.image.v1+json",
        "application/octet-stream",
        "application/json",
        "text/html",
        "text/plain; charset=utf-8",
        "application/vnd.acme.image",
        "",
    ],
)
def test_what_is_in_a_configuration_counts_not_what_it_is_called(media_type: str) -> None:
    parsed = parse_manifest(manifest(config=descriptor(media_type)))
    assert isinstance(parsed, ImageManifest)
    config = parse_image_config(json.dumps(CONFIGURATION).encode(), parsed)
    assert config.diff_ids == ("sha256:x",)


@pytest.mark.parametrize(
    ("media_type", "artifact_type", "document", "message"),
    [
        ("application/vnd.acme.thing", "", b'{"os": "linux"}', "but application/vnd.acme.thing:"),
        ("application/json", "application/vnd.acme.set", b"{}", "but application/vnd.acme.set:"),
        ("application/octet-stream", "", b"\x7fELF", "but application/octet-stream:"),
        ("", "", b"[]", "but something else:"),
        ("", "", b'{"rootfs": {"diff_ids": "sha256:x"}}', "but something else:"),
        (f"{OCI}.config.v1+json", "", b"{}", "configuration is not that of an image"),
    ],
)
def test_a_configuration_of_something_else(
    media_type: str, artifact_type: str, document: bytes, message: str
) -> None:
    fields = {"artifactType": artifact_type} if artifact_type else {}
    parsed = parse_manifest(manifest(config=descriptor(media_type), **fields))
    assert isinstance(parsed, ImageManifest)
    with pytest.raises(NoContainerImage, match=message):
        parse_image_config(document, parsed)


def test_an_image_without_layers_names_none() -> None:
    parsed = parse_manifest(manifest(layers=[]))
    assert isinstance(parsed, ImageManifest)
    document = b'{"os": "linux", "rootfs": {"type": "layers", "diff_ids": null}}'
    assert parse_image_config(document, parsed).diff_ids == ()


NO_CONFIG = "application/vnd.oci.empty.v1+json"


@pytest.mark.parametrize(
    ("config", "layer", "fields", "message"),
    [
        ("application/vnd.cncf.helm.config.v1+json", "x", {}, r"a Helm chart \(application/vnd"),
        ("application/vnd.wasm.config.v0+json", "application/wasm", {}, "a WebAssembly module"),
        (f"{OCI}.config.v1+json", "application/vnd.wasm.content.layer.v1+wasm", {}, "WebAssembly"),
        (
            f"{OCI}.config.v1+json",
            "application/vnd.dev.cosign.simplesigning.v1+json",
            {},
            "a signature by cosign",
        ),
        (f"{OCI}.config.v1+json", "application/vnd.in-toto+json", {}, "an attestation"),
        (
            f"{DOCKER}.container.image.v1+json",
            "application/vnd.ollama.image.model",
            {},
            "a model for Ollama",
        ),
        (NO_CONFIG, "text/plain", {}, "vnd.oci.empty"),
        (NO_CONFIG, "application/vnd.acme.index.v1+json", {}, "vnd.oci.empty"),
        ("application/vnd.acme.config", "image/png", {}, "vnd.acme.config"),
        (f"{OCI}.config.v1+json", "application/vnd.sylabs.data-container.v1", {}, "a data cont"),
        (f"{OCI}.config.v1+json", "application/json", {}, "no file system but .*json"),
    ],
)
def test_what_is_no_container_image_is_called_what_it_is(
    config: str, layer: str, fields: dict[str, str], message: str
) -> None:
    document = manifest(config=descriptor(config), layers=[descriptor(layer)], **fields)
    with pytest.raises(NoContainerImage, match=message):
        parse_manifest(document)


SIF = "application/vnd.sylabs.sif"


@pytest.mark.parametrize(
    ("config", "layers", "fields", "file"),
    [
        (f"{SIF}.config.v1+json", [f"{SIF}.layer.v1.sif"], {}, 0),
        (f"{SIF}.config.v1", ["appliciation/vnd.sylabs.sif.layer.tar"], {}, 0),
        (f"{OCI}.config.v1+json", [f"{SIF}.layer.v1.sif"], {}, 0),
        ("application/vnd.unknown.config.v1+json", [f"{SIF}.layer.v1.sif"], {}, 0),
        (f"{SIF}.config.v1+json", ["application/octet-stream"], {}, 0),
        (NO_CONFIG, ["x/y"], {"artifactType": f"{SIF}.config.v1+json"}, 0),
        (f"{OCI}.config.v1+json", ["text/plain", f"{SIF}.layer.v1.sif"], {}, 1),
        (f"{OCI}.config.v1+json", ["application/vnd.sylabs.image.layer.v1.squashfs"], {}, 0),
        (NO_CONFIG, [f"{OCI}.layer.v1.tar"], {"artifactType": "application/vnd.x"}, 0),
        ("application/vnd.acme.config", ["application/vnd.acme.data"], {}, 0),
    ],
)
def test_an_image_that_is_one_file(
    config: str, layers: list[str], fields: dict[str, str], file: int
) -> None:
    """As Apptainer and Singularity push SIF and OCI-SIF files, and oras whatever it is given."""
    listed = [descriptor(layer, size=number) for number, layer in enumerate(layers)]
    parsed = parse_manifest(manifest(config=descriptor(config), layers=listed, **fields))
    assert isinstance(parsed, ImageManifest)
    assert parsed.is_file
    assert [layer.size for layer in parsed.layers] == [file]


SQUASHFS = "application/vnd.sylabs.image.layer.v1.squashfs"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([f"{SIF}.layer.v1.sif"] * 2, "it has 2 SIF images: push one only"),
        ([SQUASHFS, "application/vnd.sylabs.image.layer.v1.ext3"], "an overlay that can be wri"),
        ([SQUASHFS, SQUASHFS, "application/vnd.acme.data"], "no file system but application/vnd.a"),
    ],
)
def test_what_is_not_one_file(layers: list[str], message: str) -> None:
    listed = [descriptor(layer) for layer in layers]
    with pytest.raises(InvalidImage, match=message):
        parse_manifest(manifest(config=descriptor(f"{OCI}.config.v1+json"), layers=listed))


def test_an_artifact_of_the_old_kind() -> None:
    kind = f"{OCI.replace('image', 'artifact')}.manifest.v1+json"
    with pytest.raises(NoContainerImage, match="artifact"):
        parse_manifest(json.dumps({"mediaType": kind, "blobs": []}).encode())


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"<html>", "not JSON"),
        (b"[1]", "malformed"),
        (b"{}", "malformed"),
        (manifest(layers=[descriptor(f"{OCI}.layer.v1.tar+gzip+encrypted")]), "is encrypted"),
        (manifest(layers=[{**descriptor(f"{OCI}.layer.v1.tar"), "size": -1}]), "no size"),
        (
            manifest(layers=[{**descriptor(f"{OCI}.layer.v1.tar"), "digest": "sha256:../x"}]),
            "no sha256 digest",
        ),
        (manifest(layers=3), "no list"),
        (manifest(config=None), "malformed"),
        (manifest(manifests=[]), "both an image and a list"),
    ],
)
def test_what_cannot_be_used(document: bytes, message: str) -> None:
    with pytest.raises(InvalidImage, match=message) as raised:
        parse_manifest(document)
    assert "pushed again" not in str(raised.value)


def test_foreign_layers_say_where_they_are() -> None:
    urls = ["https://layers.example/x"]
    kinds = [f"{DOCKER}.image.rootfs.foreign.diff.tar.gzip", f"{OCI}.layer.v1.tar"]
    layers = [descriptor(kinds[0]), descriptor(kinds[1], urls=urls), descriptor(kinds[1])]
    parsed = parse_manifest(manifest(layers=layers))
    assert isinstance(parsed, ImageManifest)
    assert [layer.is_foreign for layer in parsed.layers] == [True, True, False]


# Lists.


def entry(media_type: str = f"{OCI}.manifest.v1+json", **fields: Any) -> dict[str, Any]:
    return descriptor(media_type, **fields)


def test_a_list_is_known_by_what_is_in_it() -> None:
    for fields in ({"manifests": []}, {"manifests": None}, {"mediaType": f"{OCI}.index.v1+json"}):
        document = json.dumps({"schemaVersion": 2, **fields}).encode()
        assert parse_manifest(document) == ImageIndex(entries=())


@pytest.mark.parametrize(
    "listed",
    [
        entry(platform={"os": "unknown", "architecture": "unknown"}),
        entry(annotations={"vnd.docker.reference.type": "attestation-manifest"}),
        entry(artifactType="application/vnd.cncf.helm.config.v1+json"),
        entry("application/vnd.acme.manifest.v1+json", digest="sha512:0"),
    ],
)
def test_what_a_list_has_beside_images_is_passed_over(listed: dict[str, Any]) -> None:
    image = entry(artifactType=f"{OCI}.config.v1+json")
    document = json.dumps({"manifests": [listed, image]}).encode()
    nowhere = Platform(os="", architecture="")
    expected = IndexEntry(digest=image["digest"], platform=nowhere)
    assert parse_manifest(document) == ImageIndex(entries=(expected,))


@pytest.mark.parametrize(
    ("offered", "accepted"),
    [
        ({"os": "linux", "architecture": "amd64"}, True),
        ({"os": "linux", "architecture": ""}, True),
        ({}, True),
        ({"os": "Linux", "architecture": "x86_64"}, True),
        ({"os": "linux", "architecture": "arm64"}, False),
        ({"os": "linux", "architecture": "aarch64"}, False),
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


def test_a_command_of_one_word() -> None:
    config = parse_config(json.dumps({"config": {"Entrypoint": "/e", "Cmd": ""}}).encode())
    assert (config.entrypoint, config.command) == (("/e",), ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("schemaVersion", "mediaType", "config", "layers", "manifests", "digest"),
                    *("size", "platform", "os", "Env", "rootfs", "diff_ids", "fsLayers"),
                    *("history", "v1Compatibility", "artifactType", "annotations", "urls"),
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
    for parse in (parse_manifest, parse_config):
        try:
            parse(document)
        except ImageError as error:
            assert str(error)
