# SPDX-License-Identifier: Apache-2.0
"""Images carried from store to store in a file: nothing of them is lost on the way."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from node_images import node
from squashfs_readers import Facts, as_in_squashfs, ours, snapshot
from tar_layers import Entry, directory, entry, file, hardlink, symlink, tar

from cwl_udss.errors import ImageError
from cwl_udss.images.bundle import export_images, import_images
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.pull import Images, When
from cwl_udss.images.request import ImageRequest, RequestedImages
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap

NAME = "docker.io/library/carried:1"
BOTH = list(ImageFormat)


def with_attributes(name: str, kind: bytes, content: bytes = b"", **more: str) -> Entry:
    headers = {f"SCHILY.xattr.user.{key}": value for key, value in more.items()}
    return entry(
        name, kind, content, format=tarfile.PAX_FORMAT, pax_headers=headers, mtime=978_307_200
    )


LAYER = tar(
    with_attributes("./", tarfile.DIRTYPE, root="of the root"),
    directory("bin", mode=0o750, mtime=1_000_000_000),
    with_attributes(
        "bin/tool", tarfile.REGTYPE, b"#!" + b"x" * 300_000, key="value", other="\udcff"
    ),
    hardlink("bin/same", "bin/tool"),
    symlink("link", "bin/tool", mtime=1_100_000_000),
    file("l\udce9vy", "Latin-1", mode=0o640, mtime=5),
    file("empty", ""),
    directory("closed", mode=0o700),
    with_attributes("bin/dir", tarfile.DIRTYPE, of="a directory"),
    file("zeros", "\0" * 400_000 + "end"),
)


@pytest.fixture
def layer_file(tmp_path: Path) -> Path:
    (tmp_path / "layer.tar").write_bytes(LAYER)
    return tmp_path / "layer.tar"


def make_image(path: Path, layer: Path, format: ImageFormat) -> tuple[Store, StoredImage]:
    store = Store(path / f"from-{format.value}", format=format)
    images = Images(store, {"CONTAINERS_REGISTRIES_CONF_DIR": str(path / "none")}, path)
    requested = RequestedImages(
        images, store, node(store), lambda: find_bubblewrap(None), When.MISSING
    )
    return store, requested.get(ImageRequest(import_=str(layer)))


def carry(path: Path, source: Store, image: StoredImage, target: Store) -> StoredImage:
    bundle = path / f"{source.path.name}.bundle"
    if not bundle.exists():
        export_images([(image, {NAME})], this_platform(), source, bundle)
    (carried,) = import_images(bundle, target)
    return carried


def found_in(image: StoredImage, scratch: Path) -> dict[str, Facts]:
    if image.format is ImageFormat.DIRECTORY:
        return snapshot(image.path)
    scratch.mkdir()
    with ours(image.path, scratch) as root:
        return snapshot(root)


@pytest.mark.parametrize("before", BOTH)
@pytest.mark.parametrize("after", BOTH)
def test_what_is_carried_is_the_same(
    tmp_path: Path, layer_file: Path, before: ImageFormat, after: ImageFormat
) -> None:
    source, image = make_image(tmp_path, layer_file, before)
    target = Store(tmp_path / "target", format=after)
    carried = carry(tmp_path, source, image, target)
    assert (carried.digest, carried.format) == (image.digest, after)
    assert carried.entries == image.entries
    found = found_in(carried, tmp_path / "found")
    expected = found_in(image, tmp_path / "expected")
    assert found == as_in_squashfs(expected)
    assert found["bin/tool"].attributes == {"user.key": b"value", "user.other": b"\xff"}
    assert found["."].attributes == {"user.root": b"of the root"}
    assert found["bin/dir"].attributes == {"user.of": b"a directory"}
    assert found["."].mtime == 978_307_200
    assert found["bin/same"].same_as == found["bin/tool"].same_as
    assert found["l\udce9vy"].mtime == 5
    assert target.find(NAME, this_platform()) is not None
    assert list((target.path / "work").iterdir()) == []


def test_bundles_of_both_formats_hold_the_same_tree(tmp_path: Path, layer_file: Path) -> None:
    trees = []
    for format in BOTH:
        source, image = make_image(tmp_path, layer_file, format)
        target = Store(tmp_path / f"to-{format.value}", format=ImageFormat.SQUASHFS)
        carried = carry(tmp_path, source, image, target)
        trees.append(found_in(carried, tmp_path / f"tree-{format.value}"))
    assert trees[0] == trees[1]


def test_a_bundle_in_which_something_is_another(tmp_path: Path, layer_file: Path) -> None:
    source, image = make_image(tmp_path, layer_file, ImageFormat.DIRECTORY)
    target = Store(tmp_path / "target", format=ImageFormat.DIRECTORY)
    bundle = tmp_path / "bundle"
    export_images([(image, {NAME})], this_platform(), source, bundle)
    content = bytearray(bundle.read_bytes())
    with tarfile.open(bundle) as archive:
        start = archive.getmember("0/rootfs.squashfs").offset_data
    content[start + 2000] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(ImageError, match="is not what was exported"):
        list(import_images(bundle, target))
    assert target.images() == []


def test_a_bundle_whose_image_is_none(tmp_path: Path) -> None:
    """Whoever makes a bundle can also name the digest of what is in it."""
    noise = b"hsqs" + bytes(5000)
    facts = {
        "names": [NAME],
        "platform": str(this_platform()),
        "digest": "sha256:" + "0" * 64,
        "entries": 1,
        "content": f"sha256:{hashlib.sha256(noise).hexdigest()}",
    }
    with tarfile.open(tmp_path / "bundle", "w") as archive:
        for name, content in (
            ("image.json", json.dumps(facts).encode()),
            ("config.json", b"{}"),
            ("rootfs.squashfs", noise),
        ):
            member = tarfile.TarInfo(f"0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    target = Store(tmp_path / "target", format=ImageFormat.DIRECTORY)
    with pytest.raises(ImageError, match=r"bundle is no whole bundle .*SquashFS file of version 0"):
        list(import_images(tmp_path / "bundle", target))
    assert target.images() == []
