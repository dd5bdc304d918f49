# SPDX-License-Identifier: Apache-2.0
"""SIF files of OCI's kind: one layer is used where it is, several are merged into the store."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from oci_sif_files import (
    OVERLAY,
    blob,
    config_of,
    index,
    manifest_of,
    oci_sif,
)
from sif_files import sif, squashfs

from cwl_udss.errors import ImageError
from cwl_udss.images.convert import convert_in_turn
from cwl_udss.images.formats.names import Compression, ImageFormat
from cwl_udss.images.formats.squashfs.lookup import read_file
from cwl_udss.images.in_place.found import found_image
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.sources.archives import read_image_file
from cwl_udss.images.store.store import Store

AMD64 = Platform(os="linux", architecture="amd64")


def layer(path: Path, files: dict[str, str], *options: str) -> bytes:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return squashfs(path, *options)


def test_one_layer_is_used_where_it_is(tmp_path: Path) -> None:
    content = layer(tmp_path / "root", {"etc/name": "one"})
    config = config_of(Env=["A=b"], Cmd=["sh"], WorkingDir="/data")
    (tmp_path / "image.sif").write_bytes(oci_sif(config, content))
    image = found_image(tmp_path / "image.sif", "image.sif", AMD64)
    assert image is not None
    assert read_file(image.path, "etc/name", image.offset) == b"one"
    assert image.config.environment == ("A=b",)
    assert image.config.working_directory == "/data"
    assert not image.config.has_own_words
    assert not image.is_stored


def test_signatures_beside_the_image_are_passed_over(tmp_path: Path) -> None:
    content, config = layer(tmp_path / "root", {"a": "b"}), config_of()
    image = manifest_of(config, [content])
    signature = manifest_of(b"{}", [b"payload"], "application/vnd.dev.cosign.simplesigning.v1+json")
    parts = [blob(each) for each in (content, config, image, b"{}", b"payload", signature)]
    (tmp_path / "image.sif").write_bytes(sif(*parts, index(signature, image)))
    assert found_image(tmp_path / "image.sif", "image.sif", AMD64) is not None


@pytest.mark.parametrize(
    ("format", "keeps_layers"),
    [(ImageFormat.DIRECTORY, False), (ImageFormat.SQUASHFS, False), (ImageFormat.DIRECTORY, True)],
)
def test_several_layers_are_merged_as_overlayfs_does(
    tmp_path: Path, format: ImageFormat, keeps_layers: bool
) -> None:
    lower = tmp_path / "lower"
    (lower / "opaque").mkdir(parents=True)
    files = {"kept": "lower", "replaced": "lower", "gone": "x", "dir/gone": "x", "opaque/gone": "x"}
    (lower / "whole").mkdir()
    (lower / "whole/gone").write_text("x")
    upper = tmp_path / "upper"
    (upper / "opaque").mkdir(parents=True)
    os.setxattr(upper / "opaque", "user.overlay.opaque", b"y")
    (upper / "sparse").write_bytes(b"")
    os.truncate(upper / "sparse", 1 << 20)
    (upper / "link").symlink_to("replaced")
    hides = [f"{name} c 0 0 0 0 0" for name in ("gone", "dir/gone", "whole")]
    options = [part for hidden in hides for part in ("-p", hidden)]
    options += ["-p", "a-device c 600 0 0 1 3"]
    layers = [
        layer(lower, files),
        layer(upper, {"replaced": "upper", "dir/new": "upper", "opaque/new": "upper"}, *options),
    ]
    (tmp_path / "image.sif").write_bytes(oci_sif(config_of(Env=["A=b"]), *layers))
    assert found_image(tmp_path / "image.sif", "image.sif", AMD64) is None
    store = Store(
        tmp_path / "store",
        format=format,
        compression=Compression.ZSTD,
        keeps_layers=keeps_layers,
    )
    source = read_image_file("any", tmp_path / "image.sif", "image.sif", AMD64, tmp_path)
    image = convert_in_turn(source, store)
    assert image.config.environment == ("A=b",)
    root = image.path
    if format is ImageFormat.SQUASHFS:
        root = tmp_path / "unpacked"
        subprocess.run(["unsquashfs", "-q", "-n", "-d", root, image.path], check=True)
    found = {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and path.stat().st_size and path.name != "sparse"
    }
    assert found == {
        "kept": "lower",
        "replaced": "upper",
        "link": "upper",
        "dir/new": "upper",
        "opaque/new": "upper",
    }
    assert (root / "sparse").read_bytes() == bytes(1 << 20)
    assert not (root / "whole").exists()


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([], "no image that can be run"),
        ([blob(b"{}"), index(b"{}")], "no image that can be run"),
        ([index(b"not there")], "it lacks sha256:"),
        (
            [
                blob(config_of()),
                blob(manifest_of(config_of(), [b"x"], OVERLAY)),
                index(manifest_of(config_of(), [b"x"], OVERLAY)),
            ],
            "it has no root filesystem",
        ),
        (
            [
                blob(config_of("arm64")),
                blob(b"x"),
                blob(manifest_of(config_of("arm64"), [b"x"])),
                index(manifest_of(config_of("arm64"), [b"x"])),
            ],
            "the image is for linux/arm64, this machine is linux/amd64",
        ),
        (
            [
                blob(config_of()),
                blob(manifest_of(config_of(), [b"x"])),
                index(manifest_of(config_of(), [b"x"])),
            ],
            "it lacks sha256:",
        ),
        (
            [
                blob(config_of()),
                blob(b"x"),
                blob(manifest_of(config_of(), [b"x"])),
                index(manifest_of(config_of(), [b"x"])),
            ],
            "is damaged, or no SquashFS file",
        ),
        ([index(), index()], "several indexes"),
    ],
)
def test_what_is_refused(tmp_path: Path, parts: list[object], problem: str) -> None:
    parts = parts or [index()]
    (tmp_path / "image.sif").write_bytes(sif(*parts))  # type: ignore[arg-type]
    with pytest.raises(ImageError) as caught:
        found_image(tmp_path / "image.sif", "image.sif", AMD64)
    assert problem in str(caught.value)
    assert "image.sif" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_document_that_is_another(tmp_path: Path) -> None:
    content = oci_sif(config_of(Cmd=["true"]), layer(tmp_path / "root", {"a": "b"}))
    (tmp_path / "image.sif").write_bytes(content.replace(b'"true"', b'"fals"'))
    with pytest.raises(ImageError, match="in it is another"):
        found_image(tmp_path / "image.sif", "image.sif", AMD64)


def test_the_media_type_is_what_tells_a_layer(tmp_path: Path) -> None:
    config = config_of()
    manifest = manifest_of(config, [b"x"], "application/vnd.oci.image.layer.v1.tar+gzip")
    parts = [blob(b"x"), blob(config), blob(manifest), index(manifest)]
    (tmp_path / "image.sif").write_bytes(sif(*parts))
    with pytest.raises(ImageError, match="no image that can be run"):
        found_image(tmp_path / "image.sif", "image.sif", AMD64)
