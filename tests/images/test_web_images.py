# SPDX-License-Identifier: Apache-2.0
"""Images at URLs: SIF and SquashFS files, archives; asked for once, and checked."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from node_images import node
from sif_files import document, partition, sif, squashfs
from tar_layers import file, tar
from web_server import Site, serve_site

from cwl_udss.errors import ImageError, InvalidImage
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.sif.layout import ARCHITECTURES
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.pull import Images, When
from cwl_udss.images.request import ImageRequest, RequestedImages, parse_request
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store

NUMBER = next(code for code, name in ARCHITECTURES.items() if name == this_platform().architecture)
DOCKER = {"Env": ["A=from docker"], "Cmd": ["tool"]}
ROOT_TAR = tar(file("bin/tool", "a tool"))


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as running:
        yield running


@pytest.fixture(scope="session")
def squashed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    root = tmp_path_factory.mktemp("made") / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_text("a tool")
    return squashfs(root)


@pytest.fixture
def sif_file(squashed: bytes) -> bytes:
    config = document("oci-config.json", json.dumps(DOCKER).encode())
    return sif(config, partition(squashed, architecture=NUMBER), architecture=NUMBER)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", format=ImageFormat.SQUASHFS)


Get = Callable[..., StoredImage]


@pytest.fixture
def requested(store: Store, tmp_path: Path) -> Callable[..., RequestedImages]:
    """What a new run asks."""

    def requested(when: When = When.MISSING) -> RequestedImages:
        images = Images(store, {"CONTAINERS_REGISTRIES_CONF_DIR": "/none"}, tmp_path)

        def no_runtime() -> Any:
            raise AssertionError("no script is run here")

        return RequestedImages(images, store, node(store), no_runtime, when)

    return requested


@pytest.fixture
def get(requested: Callable[..., RequestedImages], tmp_path: Path) -> Get:
    def get(when: When = When.MISSING, **fields: str) -> StoredImage:
        return requested(when).get(ImageRequest(**fields, base=tmp_path))

    return get


def content(store: Store, image: StoredImage) -> str:
    return (node(store).directory(image) / "bin/tool").read_text()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("field", ["pull", "image_id", "load", "import_"])
def test_a_sif_image_at_a_url(
    get: Get, store: Store, site: Site, sif_file: bytes, field: str
) -> None:
    url = site.add("/singularity/samtools%3A1.17--h_0", sif_file)
    image = get(**{field: url})
    assert content(store, image) == "a tool"
    assert image.digest == f"sha256:{sha256(sif_file)}"
    assert (image.config.environment, image.config.command) == (("A=from docker",), ("tool",))
    assert site.requests == ["GET /singularity/samtools%3A1.17--h_0"]
    for when, asked in ((When.MISSING, 1), (When.NEVER, 1), (When.ALWAYS, 2)):
        assert get(when, **{field: url}).digest == image.digest
        assert len(site.requests) == asked
    (found,) = store.images()
    assert found.references == (url,)


def test_an_archive_at_a_url_as_an_image_to_pull(get: Get, store: Store, site: Site) -> None:
    image = get(pull=site.add("/root.tar.gz", gzip.compress(ROOT_TAR)))
    assert content(store, image) == "a tool"


def test_it_is_asked_for_once_by_all_steps(
    requested: Any, site: Site, sif_file: bytes, tmp_path: Path
) -> None:
    url = site.add("/a.sif", sif_file)
    asked = [
        ImageRequest(pull=url, base=tmp_path / "a"),
        ImageRequest(pull=url, base=tmp_path / "b"),
        ImageRequest(load=url, base=tmp_path),
        ImageRequest(image_id=url, base=tmp_path),
    ]
    images, found = requested(When.ALWAYS), []
    threads = [
        threading.Thread(target=lambda each=each: found.append(images.get(each))) for each in asked
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({image.digest for image in found}) == 1
    assert site.requests == ["GET /a.sif"]


def test_the_digest_in_an_address_is_checked(
    get: Get, store: Store, site: Site, sif_file: bytes
) -> None:
    digest = sha256(sif_file)
    path = f"/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"
    url = site.add(path, sif_file + b"x")
    with pytest.raises(InvalidImage, match=f"{digest}/data is not what its address says, but"):
        get(pull=url)
    assert store.images() == []
    site.add(path, sif_file)
    image = get(pull=url)
    asked = len(site.requests)
    # What is known by its digest needs not to be asked for, wherever it is said to be.
    mirror = f"https://mirror.invalid/v2/x/blobs/sha256:{digest}"
    for when in (When.MISSING, When.NEVER, When.ALWAYS):
        assert get(when, pull=url).digest == image.digest
        assert get(when, pull=mirror).digest == image.digest
    assert len(site.requests) == asked


def test_what_is_not_there_is_said(get: Get, store: Store, site: Site, sif_file: bytes) -> None:
    page = b"<!DOCTYPE html><html><body>Log in</body></html>"
    site.add("/login", page, headers={"Content-Type": "text/html"})
    site.add("/cut.sif", sif_file[: len(sif_file) - 3000])
    site.add("/empty.sif", b"")
    other = sif(partition(b"hsqs", architecture=b"11"), architecture=b"11")
    site.add("/other.sif", other)
    for path, message in (
        ("/none.sif", "none.sif cannot be downloaded: 404 Not Found: look for a misspelling"),
        ("/login", "/login is a web page: it is what came instead of the image"),
        ("/cut.sif", "/cut.sif is not whole: "),
        ("/empty.sif", "/empty.sif is empty"),
        ("/other.sif", "/other.sif: the image is for linux/s390x, this machine is"),
    ):
        with pytest.raises(ImageError) as raised:
            get(pull=site.url(path))
        assert message in str(raised.value)
        assert path != "/cut.sif" or raised.value.advice.startswith("download it again")
    with pytest.raises(ImageError, match=r"not in the store .*: pull it where there is a netw"):
        get(When.NEVER, pull=site.url("/none.sif"))
    assert store.images() == []
    assert list((store.path / "work").iterdir()) == []


def test_a_password_in_a_url_stays_there(
    get: Get, store: Store, site: Site, sif_file: bytes
) -> None:
    url = site.add("/a.sif", sif_file)
    get(pull=url.replace("://", "://mia:secret@"))
    (image,) = store.images()
    assert image.references == (url,)
    assert "secret" not in parse_request({"dockerPull": "https://mia:secret@h/x"}, Path()).name


def test_what_is_refused_wherever_it_is_written(get: Get) -> None:
    for text, message in (
        ("library://a/b:1", "Singularity's own library: get it as a file"),
        ("shub://a/b", "Singularity Hub, which has ended"),
        ("docker-daemon:a:1", "a Docker on some machine"),
        ("s3://bucket/a.sif", "begins with s3://"),
    ):
        for field in ("pull", "image_id", "load", "import_"):
            with pytest.raises(ImageError) as raised:
                get(**{field: text})
            assert message in str(raised.value)


@pytest.mark.parametrize("field", ["dockerLoad", "dockerImport"])
def test_prefixes_in_a_document_at_a_url(field: str) -> None:
    base = "https://h.example/wf/tool.cwl"
    for location, expected in (
        ("oras://quay.io/a/b:1", "oras://quay.io/a/b:1"),
        ("docker-archive:x.tar", "https://h.example/wf/x.tar"),
        ("docker-archive:/shared/x.tar", "docker-archive:/shared/x.tar"),
    ):
        assert parse_request({field: location}, base).name == expected
