# SPDX-License-Identifier: Apache-2.0
"""Manifests of schema 1: what they are of, what is in them, and what contradicts itself."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from needs import need
from stand_ins import NEEDED, serve_registry
from tar_layers import directory, file, tar

from cwl_udss.errors import InvalidImage
from cwl_udss.images.convert import convert_in_turn
from cwl_udss.images.manifests.manifest import parse_manifest, this_platform
from cwl_udss.images.manifests.schema1 import Schema1Manifest, signed_payload
from cwl_udss.images.pull import Images
from cwl_udss.images.sources.archives import read_image_file
from cwl_udss.images.store.store import Store

LAYERS = [f"sha256:{number:064}" for number in range(3)]
"""The oldest first."""


def image(number: int, **fields: Any) -> dict[str, Any]:
    parent = {"parent": f"{number - 1:064}"} if number else {}
    return {"id": f"{number:064}", **parent, **fields}


def document(*images: dict[str, Any], layers: list[str] = LAYERS, **fields: Any) -> bytes:
    """A manifest of images and layers, the oldest first."""
    content = {
        "schemaVersion": 1,
        "name": "old",
        "tag": "1",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": layer} for layer in reversed(layers)],
        "history": [{"v1Compatibility": json.dumps(image)} for image in reversed(images)],
        **fields,
    }
    return json.dumps(content, indent=3).encode()


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def signature(**protected: Any) -> dict[str, str]:
    return {"signature": "AAAA", "protected": encoded(json.dumps(protected).encode())}


def signed(payload: bytes, *signatures: Any) -> bytes:
    """As libtrust signs: what follows the last field moves behind the signatures."""
    length = len(payload.rstrip().removesuffix(b"}").rstrip())
    parts = [signature(formatLength=length, formatTail=encoded(payload[length:]))]
    text = json.dumps(list(signatures) or parts).encode()
    return payload[:length] + b',\n   "signatures": ' + text + b"\n}"


def parsed(content: bytes) -> Schema1Manifest:
    manifest = parse_manifest(content)
    assert isinstance(manifest, Schema1Manifest)
    return manifest


def test_layers_and_configuration() -> None:
    newest = image(2, os="linux", architecture="arm64", config={"Cmd": ["sh"]})
    manifest = parsed(document(image(0), image(1), newest))
    assert manifest.layers == tuple(LAYERS)
    assert json.loads(manifest.config_document) == newest
    assert manifest.architecture == "amd64"


def test_images_that_changed_no_file_have_no_layer() -> None:
    manifest = parsed(document(image(0), image(1, throwaway=True), image(2)))
    assert manifest.layers == (LAYERS[0], LAYERS[2])


def test_an_image_that_is_there_twice_counts_once() -> None:
    manifest = parsed(document(image(0), image(1), image(1)))
    assert manifest.layers == tuple(LAYERS[:2])


def test_images_without_names_are_in_the_order_of_the_list() -> None:
    manifest = parsed(document({"os": "linux"}, {}, {"os": "linux"}))
    assert manifest.layers == tuple(LAYERS)


@pytest.mark.parametrize("end", [b"", b"\n", b"  \n\n"])
def test_what_is_signed(end: bytes) -> None:
    payload = document(image(0), image(1), image(2)) + end
    assert signed_payload(signed(payload)) == payload


def test_what_nobody_has_signed_is_left_out() -> None:
    payload = document(image(0), image(1), image(2))
    evil = json.dumps([{"blobSum": f"sha256:{9:064}"}] * 3)
    changed = signed(payload).replace(b'"signatures"', f'"fsLayers": {evil}, "signatures"'.encode())
    assert len(parsed(changed).layers) == 3
    assert signed_payload(changed) == payload


@pytest.mark.parametrize(
    "content",
    [
        document(image(0), image(1), image(2)),
        b'{"schemaVersion": 2, "signatures": [{}]}',
        b"no JSON",
        b"[]",
    ],
)
def test_what_is_not_signed_stays_as_it_is(content: bytes) -> None:
    assert signed_payload(content) == content


PAYLOAD = document(image(0), image(1), image(2))


@pytest.mark.parametrize(
    "signatures",
    [
        [signature(formatLength=10, formatTail="fQ"), signature(formatLength=11, formatTail="fQ")],
        [signature(formatLength=10**9, formatTail="fQ")],
        [signature(formatLength=-1, formatTail="fQ")],
        [signature(formatLength=True, formatTail="fQ")],
        [signature(formatLength="10", formatTail="fQ")],
        [signature(formatLength=10, formatTail="f")],
        [signature(formatLength=10, formatTail="ü")],
        [signature(formatTail="fQ")],
        [{"protected": "!"}],
        [{"protected": 1}],
        [{}],
        ["x"],
    ],
)
def test_signatures_that_cannot_be_read(signatures: list[Any]) -> None:
    with pytest.raises(InvalidImage):
        signed_payload(signed(PAYLOAD, *signatures))


def test_signatures_of_nothing() -> None:
    with pytest.raises(InvalidImage, match="0 contents"):
        signed_payload(document(image(0), layers=LAYERS[:1], signatures=[]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (document(), "3 layers for 0 images"),
        (document(layers=[]), "0 layers for 0 images"),
        (document(image(0), image(1)), "3 layers for 2 images"),
        (document(image(0), image(2), image(1)), "do not follow"),
        (document(image(1), image(2), layers=LAYERS[:2]), "oldest layer is missing"),
        (document(image(0), layers=["sha256:../../x"]), "no sha256 digest"),
        (document(image(0), layers=["tarsum.dev+sha256:0"]), "no sha256 digest"),
        (document(image(0), layers=[""]), "no sha256 digest"),
        (document(history=3), "no list"),
        (document(fsLayers=[3]), "malformed"),
        (document(history=[{"v1Compatibility": "{"}] * 3), "history is not JSON"),
        (document(history=[{"v1Compatibility": "[]"}] * 3), "history is malformed"),
        (document(history=[{"v1Compatibility": {}}] * 3), "history is not JSON"),
    ],
)
def test_what_contradicts_itself(content: bytes, message: str) -> None:
    with pytest.raises(InvalidImage, match=message) as raised:
        parse_manifest(content)
    assert "pushed again" not in str(raised.value)


def docker_archive() -> bytes:
    """An image of three instructions, the second of which has changed no file."""
    layers = [tar(directory("bin"), file("bin/tool", "old")), tar(file("bin/tool", "content"))]
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {
        **vars(this_platform()),
        "config": {"Cmd": ["tool"]},
        "history": [{}, {"empty_layer": True}, {}],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    return tar(
        file("0.tar", layers[0].decode()),
        file("1.tar", layers[1].decode()),
        file("config.json", json.dumps(config)),
        file("manifest.json", '[{"Config": "config.json", "Layers": ["0.tar", "1.tar"]}]'),
    )


@pytest.fixture
def old_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a real registry with an image that was pushed as those of before 2016."""
    for program in ("docker-registry", "skopeo"):
        if shutil.which(program) is None:
            need(f"needs the Debian package {NEEDED[program]}")
    (tmp_path / "image.tar").write_bytes(docker_archive())
    (tmp_path / "registry").mkdir()
    monkeypatch.setenv("REGISTRY_COMPATIBILITY_SCHEMA1_ENABLED", "true")
    # Skopeo has no credentials to find here; where root has run podman, it may not even look.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with serve_registry(tmp_path / "registry") as address:
        options = ("--quiet", "--format", "v2s1", "--dest-tls-verify=false")
        image = f"docker-archive:{tmp_path}/image.tar"
        subprocess.run(["skopeo", "copy", *options, image, f"docker://{address}/old:1"], check=True)
        yield address


def test_a_real_registry(old_registry: str, tmp_path: Path) -> None:
    url = f"http://{old_registry}/v2/old/manifests/1"
    served = requests.get(url, timeout=10)
    assert served.headers["Content-Type"].endswith("v1+prettyjws")
    assert b"throwaway" in served.content
    digest = served.headers["Docker-Content-Digest"]
    environment = {"CONTAINERS_REGISTRIES_CONF_DIR": str(tmp_path / "none")}
    for name in ("old:1", f"old@{digest}"):
        store = Store(tmp_path / f"store of {name}")
        image = Images(store, environment, tmp_path).get(f"{old_registry}/{name}")
        assert image.digest == digest
        assert (image.path / "bin/tool").read_text() == "content"
        assert image.config.command == ("tool",)


def test_a_directory_that_skopeo_has_written(old_registry: str, tmp_path: Path) -> None:
    options = ("--quiet", "--src-tls-verify=false")
    image = (f"docker://{old_registry}/old:1", f"dir:{tmp_path}/image")
    subprocess.run(["skopeo", "copy", *options, *image], check=True)
    source = read_image_file("load", tmp_path / "image", "image", this_platform(), tmp_path)
    served = requests.get(f"http://{old_registry}/v2/old/manifests/1", timeout=10)
    assert source.digest == served.headers["Docker-Content-Digest"]
    assert convert_in_turn(source, Store(tmp_path / "store")).entries > 0
