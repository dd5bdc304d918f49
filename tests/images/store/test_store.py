# SPDX-License-Identifier: Apache-2.0
"""Pulling into a store: whole images or none, once, whatever happens."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from registry_server import EMPTY_LAYER, Registry, serve
from rich.filesize import decimal
from squashfs_readers import unsquashfs
from tar_layers import directory, file, gzipped, hardlink

from cwl_udss.errors import ImageError, InvalidImage, StoreError, UdssError
from cwl_udss.images import convert
from cwl_udss.images.maintenance import remove_named
from cwl_udss.images.pull import Images, When
from cwl_udss.images.store.store import ImageFormat, Store

LAYER = gzipped(directory("bin"), file("bin/tool", "content", mode=0o755))


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serve(Registry()) as running:
        running.add_image("1", LAYER)
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(params=ImageFormat)
def store_of_each_format(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "store", format=request.param)


def images(store: Store, tmp_path: Path) -> Images:
    environment = {"CONTAINERS_REGISTRIES_CONF_DIR": str(tmp_path / "none")}
    return Images(store, environment, tmp_path)


def left(store: Store) -> list[str]:
    """What is in the store besides finished images and references."""
    work = store.path / "work"
    return os.listdir(work) if work.exists() else []


def test_an_image_is_pulled_once(registry: Registry, store: Store, tmp_path: Path) -> None:
    name = f"{registry.address}/image:1"
    image = images(store, tmp_path).get(name)
    assert (image.path / "bin/tool").read_text() == "content"
    assert image.config.command == ("sh",)
    asked = len(registry.requests)
    again = images(store, tmp_path).get(name)
    assert again.path == image.path
    assert len(registry.requests) == asked
    assert left(store) == []


@pytest.mark.parametrize("keeps", [True, False])
def test_an_image_with_a_manifest_of_schema_1(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture, keeps: bool
) -> None:
    caplog.set_level(logging.INFO)
    upper = gzipped(file("bin/.wh.tool", ""), file("bin/other"))
    digest = registry.add_schema_1("old", LAYER, None, EMPTY_LAYER, upper, signed=True)
    for format in ImageFormat:
        store = Store(tmp_path / format.value, format=format, keeps_layers=keeps)
        image = images(store, tmp_path).get(f"{registry.address}/image:old")
        assert (image.digest, image.config.command) == (digest, ("sh",))
        again = images(store, tmp_path).get(f"{registry.address}/image@{digest}")
        assert again.path == image.path
        root = image.path
        if format is ImageFormat.SQUASHFS:
            with unsquashfs(image.path, tmp_path) as unpacked:
                root = unpacked
        assert [path.name for path in (root / "bin").iterdir()] == ["other"]
    assert f"pulling {registry.address}/image:old: 3 layers\n" in caplog.text
    size = decimal(len(LAYER) + len(EMPTY_LAYER) + len(upper))
    assert f"pulled {registry.address}/image:old: {size} in" in caplog.text
    assert f"is here ({decimal(len(upper))})" in caplog.text


def test_steps_of_one_run_pull_once(registry: Registry, store: Store, tmp_path: Path) -> None:
    shared = images(store, tmp_path)
    name = f"{registry.address}/image:1"
    threads = [threading.Thread(target=shared.get, args=(name,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.paths("/blobs/")) == 2  # configuration and layer


def test_asked_for_always_a_tag_is_looked_up_but_nothing_downloaded_again(
    registry: Registry, store: Store, tmp_path: Path
) -> None:
    name = f"{registry.address}/image:1"
    images(store, tmp_path).get(name)
    downloads = len(registry.paths("/blobs/"))
    images(store, tmp_path).get(name, When.ALWAYS)
    assert len(registry.paths("/blobs/")) == downloads + 1  # the configuration
    digest = registry.add_image("1", gzipped(file("new")))
    assert images(store, tmp_path).get(name).digest != digest
    assert images(store, tmp_path).get(name, When.ALWAYS).digest == digest
    assert images(store, tmp_path).get(name).digest == digest


def test_a_digest_needs_no_registry_if_the_image_is_there(
    registry: Registry, store: Store, tmp_path: Path
) -> None:
    image = images(store, tmp_path).get(f"{registry.address}/image:1")
    again = images(store, tmp_path).get(f"127.0.0.1:1/other@{image.digest}")
    assert again.path == image.path


def test_never_asks_nobody(registry: Registry, store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"not in the store .*cwl-udss images pull"):
        images(store, tmp_path).get(f"{registry.address}/image:1", When.NEVER)
    assert registry.requests == []


@pytest.mark.parametrize("format", ImageFormat)
def test_a_layer_that_is_there_twice_is_downloaded_once(
    registry: Registry, tmp_path: Path, format: ImageFormat
) -> None:
    between = gzipped(hardlink("bin/first", "bin/tool"), file("bin/other"))
    registry.add_image("2", LAYER, between, LAYER)
    store = Store(tmp_path / "store", format=format)
    image = images(store, tmp_path).get(f"{registry.address}/image:2")
    assert len(registry.paths("/blobs/")) == 3  # configuration and two layers
    root = image.path
    if format is ImageFormat.SQUASHFS:
        with unsquashfs(image.path, tmp_path) as unpacked:
            root = unpacked
    found = {path.name: path.read_text() for path in (root / "bin").iterdir()}
    assert found == {"tool": "content", "first": "content", "other": "x"}


@pytest.mark.parametrize("keeps", [True, False])
def test_what_another_image_has_is_downloaded_again_unless_layers_are_kept(
    registry: Registry, tmp_path: Path, keeps: bool
) -> None:
    store = Store(tmp_path / "store", keeps_layers=keeps)
    registry.add_image("2", LAYER, gzipped(file("second")))
    images(store, tmp_path).get(f"{registry.address}/image:1")
    registry.requests.clear()
    image = images(store, tmp_path).get(f"{registry.address}/image:2")
    assert {path.name for path in image.path.iterdir()} >= {"bin", "second"}
    assert (image.path / "bin/tool").read_text() == "content"
    assert len(registry.paths("/blobs/")) == (2 if keeps else 3)  # with the configuration


def test_a_layer_that_was_kept_and_is_damaged_is_downloaded_again(
    registry: Registry, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", keeps_layers=True)
    registry.add_image("2", LAYER, gzipped(file("second")))
    images(store, tmp_path).get(f"{registry.address}/image:1")
    (kept,) = (store.path / "layers").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    images(store, tmp_path).get(f"{registry.address}/image:2")
    assert kept.read_bytes() == LAYER


def test_a_wrong_diff_id(registry: Registry, store_of_each_format: Store, tmp_path: Path) -> None:
    store = store_of_each_format
    registry.add_image("1", LAYER, diff_ids=["sha256:" + "0" * 64])
    with pytest.raises(InvalidImage, match="not those that its configuration names"):
        images(store, tmp_path).get(f"{registry.address}/image:1")
    assert store.images() == []
    assert left(store) == []


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(gzipped(file("../../evil")), id="leaves the root"),
        pytest.param(LAYER[:-30], id="truncated"),
        pytest.param(b"noise" * 1000, id="noise"),
    ],
)
def test_a_bad_layer_leaves_nothing(
    registry: Registry, store_of_each_format: Store, tmp_path: Path, layer: bytes
) -> None:
    store = store_of_each_format
    registry.add_image("1", layer, diff_ids=["sha256:" + "0" * 64])
    with pytest.raises(UdssError) as raised:
        images(store, tmp_path).get(f"{registry.address}/image:1")
    assert "\n" not in str(raised.value)
    assert store.images() == []
    assert left(store) == []
    registry.add_image("1", LAYER)
    assert images(store, tmp_path).get(f"{registry.address}/image:1").entries > 0


def test_a_blob_that_is_another_is_called_that_even_if_it_is_no_layer(
    registry: Registry, store: Store, tmp_path: Path
) -> None:
    (layer,) = (digest for digest, content in registry.blobs.items() if content == LAYER)
    registry.blobs[layer] = b"x" * len(LAYER)
    with pytest.raises(InvalidImage, match="does not match its digest"):
        images(store, tmp_path).get(f"{registry.address}/image:1")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "No space left.*free space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "Read-only"),
    ],
)
def test_a_disk_that_does_not_take_it(
    registry: Registry,
    store_of_each_format: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    message: str,
) -> None:
    store = store_of_each_format

    def fail(*arguments: Any, **keywords: Any) -> None:
        raise OSError(number, os.strerror(number))

    name = f"{registry.address}/image:1"
    with monkeypatch.context() as patch:
        for sink in ("DirectorySink", "SquashfsSink"):
            patch.setattr(convert, sink, fail)
        with pytest.raises(StoreError, match=message):
            images(store, tmp_path).get(name)
    assert left(store) == []
    assert images(store, tmp_path).get(name)


PULL = """
import sys
from pathlib import Path
from cwl_udss.images.pull import Images
from cwl_udss.images.store.store import Store
image = Images(Store(Path(sys.argv[1])), {}, Path("/nonexistent")).get(sys.argv[2])
print((image.path / "bin/tool").read_text())
"""


def test_processes_that_pull_at_the_same_time_all_succeed(registry: Registry, store: Store) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PULL, store.path, f"{registry.address}/image:1"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    assert [process.communicate()[0] for process in processes] == ["content\n"] * 4
    assert len(store.images()) == 1
    assert left(store) == []


LEAVE = """
import os, signal, sys
from pathlib import Path
from cwl_udss.images.store.store import Store
with Store(Path(sys.argv[1])).work() as work:
    (work / "image").mkdir()
    print("made", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_pull_left_is_removed_by_the_next(
    registry: Registry, store: Store, tmp_path: Path
) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", LEAVE, store.path], stdout=subprocess.PIPE, text=True
    )
    assert killed.communicate()[0] == "made\n"
    assert left(store)
    images(store, tmp_path).get(f"{registry.address}/image:1")
    assert left(store) == []


def test_a_store_that_anybody_may_write_to_is_refused(
    registry: Registry, store: Store, tmp_path: Path
) -> None:
    store.path.mkdir()
    store.path.chmod(0o777)
    with pytest.raises(StoreError, match="anybody may write"):
        images(store, tmp_path).get(f"{registry.address}/image:1")


def test_list_and_remove(registry: Registry, store: Store, tmp_path: Path) -> None:
    registry.add_image("2", LAYER)
    name = f"{registry.address}/image"
    for tag in ("1", "2"):
        images(store, tmp_path).get(f"{name}:{tag}")
    (image,) = store.images()
    assert image.references == (f"{name}:1", f"{name}:2")
    assert image.size == len("content")
    remove_named(images(store, tmp_path), store, f"{name}:1")
    (image,) = store.images()
    assert image.references == (f"{name}:2",)
    remove_named(images(store, tmp_path), store, image.digest[7:19])
    assert store.images() == []
    assert left(store) == []
    with pytest.raises(ImageError, match="no image"):
        remove_named(images(store, tmp_path), store, f"{name}:2")


def test_a_damaged_record_is_named(registry: Registry, store: Store, tmp_path: Path) -> None:
    images(store, tmp_path).get(f"{registry.address}/image:1")
    (record,) = (store.path / "references").iterdir()
    record.write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        images(store, tmp_path).get(f"{registry.address}/image:1")
