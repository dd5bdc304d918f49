# SPDX-License-Identifier: Apache-2.0
"""Images that are one file in a registry: SIF, SquashFS, and what oras was given."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from node_images import node
from registry_server import OCI, Registry, serve
from sif_files import LAUNCH, document, partition, sif, squashfs
from tar_layers import file, tar

from cwl_udss.errors import ImageError, InvalidImage, NoContainerImage
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.sif.layout import ARCHITECTURES
from cwl_udss.images.maintenance import verify
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.pull import Images, When
from cwl_udss.images.request import ImageRequest, RequestedImages
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store

SIF_CONFIG = "application/vnd.sylabs.sif.config.v1+json"
SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
SQUASHFS_LAYER = "application/vnd.sylabs.image.layer.v1.squashfs"
NO_CONFIG = "application/vnd.oci.empty.v1+json"
DOCKER = {"Env": ["A=from docker"], "Entrypoint": ["/run me"], "Cmd": ["now"], "WorkingDir": "/w"}
HERE = this_platform().architecture
OTHER = "s390x"


@pytest.fixture
def served() -> Iterator[Registry]:
    with serve(Registry()) as running:
        yield running


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "root"
    root.mkdir()
    (root / "bin").mkdir()
    (root / "bin/tool").write_text("a tool")
    (root / "bin/tool").chmod(0o755)
    (root / "large").write_bytes(bytes(range(256)) * 4096)
    return root


@pytest.fixture(scope="session")
def squashed(root: Path) -> bytes:
    return squashfs(root)


def sif_of(squashed: bytes, architecture: str = HERE) -> bytes:
    """As `apptainer pull` makes it of an image at a registry."""
    number = next(code for code, name in ARCHITECTURES.items() if name == architecture)
    config = document("oci-config.json", json.dumps(DOCKER).encode())
    return sif(config, partition(squashed, architecture=number), architecture=number)


@pytest.fixture
def sif_file(squashed: bytes) -> bytes:
    return sif_of(squashed)


@pytest.fixture(params=[ImageFormat.SQUASHFS, ImageFormat.DIRECTORY], ids=lambda x: x.value)
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return Store(tmp_path / "store", format=request.param)


Get = Callable[..., StoredImage]


@pytest.fixture
def get(store: Store, tmp_path: Path) -> Get:
    """Ask as a new run does."""

    def get(when: When = When.MISSING, **fields: str) -> StoredImage:
        environment = {"CONTAINERS_REGISTRIES_CONF_DIR": str(tmp_path / "none")}
        images = Images(store, environment, tmp_path)

        def no_runtime() -> Any:
            raise AssertionError("no script is run here")

        request = ImageRequest(**fields, base=tmp_path)
        return RequestedImages(images, store, node(store), no_runtime, when).get(request)

    return get


def push(
    served: Registry,
    *layers: tuple[bytes, str],
    config: tuple[bytes, str] = (b"{}", SIF_CONFIG),
    tag: str = "sif",
    **fields: Any,
) -> str:
    """Push as `apptainer push` and `oras push` do; return the digest."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": served.add_blob(*config),
        "layers": [served.add_blob(*layer) for layer in layers],
        **fields,
    }
    return served.add_manifest(tag, manifest, f"{OCI}.manifest.v1+json")


def with_layers(*layers: bytes) -> tuple[bytes, str]:
    """A configuration as Singularity leaves it: what it says of layers are digests of these."""
    names = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {
        "os": "linux",
        "architecture": HERE,
        "config": DOCKER,
        "rootfs": {"type": "layers", "diff_ids": names},
    }
    return json.dumps(config).encode(), f"{OCI}.config.v1+json"


def check(image: StoredImage, store: Store) -> None:
    """See that an image is what was pushed, and one of the store."""
    assert image.format is store.format
    assert image.is_stored
    assert image.offset == 0
    directory = image.path
    if store.format is ImageFormat.SQUASHFS:
        directory = node(store).directory(image)
    assert (directory / "bin/tool").read_text() == "a tool"
    assert (directory / "large").read_bytes() == bytes(range(256)) * 4096
    assert [found.quarantined for found in verify(store)] == [None]
    assert list((store.path / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("field", "prefix"),
    [
        *(("pull", prefix) for prefix in ("oras://", "docker://", "")),
        *(("image_id", prefix) for prefix in ("oras://", "docker://", "")),
        *((field, prefix) for field in ("load", "import_") for prefix in ("oras://", "docker://")),
    ],
)
def test_a_sif_image_is_pulled(
    get: Get, store: Store, served: Registry, sif_file: bytes, field: str, prefix: str
) -> None:
    digest = push(served, (sif_file, SIF_LAYER))
    image = get(**{field: f"{prefix}{served.address}/image:sif"})
    check(image, store)
    assert image.digest == digest
    config = image.config
    assert (config.environment, config.entrypoint) == (("A=from docker",), ("/run me",))
    assert (config.command, config.working_directory) == (("now",), "/w")
    served.requests.clear()
    for name in (f"oras://{served.address}/image:sif", f"{served.address}/image@{digest}"):
        assert get(When.NEVER, pull=name).digest == digest
    assert served.requests == []
    assert get(When.ALWAYS, pull=f"oras://{served.address}/image:sif").digest == digest
    assert served.paths("/blobs/") == []


@pytest.mark.parametrize(
    ("config", "layer"),
    [
        ("application/vnd.sylabs.sif.config.v1", "appliciation/vnd.sylabs.sif.layer.tar"),
        ("application/vnd.oci.image.config.v1+json", SIF_LAYER),
        (NO_CONFIG, f"{OCI}.layer.v1.tar"),
        ("application/vnd.unknown.config.v1+json", "application/octet-stream"),
        ("application/vnd.acme.config", "application/vnd.acme.container"),
    ],
)
def test_whatever_a_sif_image_is_called(
    get: Get, store: Store, served: Registry, sif_file: bytes, config: str, layer: str
) -> None:
    push(served, (sif_file, layer), config=(b"{}", config))
    check(get(pull=f"oras://{served.address}/image:sif"), store)


def test_an_image_whose_layer_is_squashfs(
    get: Get, store: Store, served: Registry, squashed: bytes
) -> None:
    """As `singularity push` pushes an OCI-SIF."""
    document, kind = with_layers(squashed)
    push(served, (squashed, SQUASHFS_LAYER), config=(document, kind))
    image = get(pull=f"{served.address}/image:sif")
    check(image, store)
    assert image.config.environment == ("A=from docker",)
    assert not image.config.has_own_words
    document = json.dumps({**json.loads(document), "architecture": OTHER}).encode()
    push(served, (squashed, SQUASHFS_LAYER), config=(document, kind), tag="other")
    with pytest.raises(ImageError, match=f"the image is for linux/{OTHER}, this machine is"):
        get(pull=f"{served.address}/image:other")


def test_several_layers_that_are_squashfs(
    get: Get, store: Store, served: Registry, squashed: bytes, tmp_path: Path
) -> None:
    """As `singularity push` pushes an OCI-SIF that was pulled with --keep-layers."""
    upper = tmp_path / "upper"
    (upper / "bin").mkdir(parents=True)
    (upper / "bin/new").write_text("of the upper layer")
    lower = tmp_path / "lower"
    (lower / "bin").mkdir(parents=True)
    (lower / "bin/gone").write_text("x")
    layers = (
        *(squashed, squashfs(lower), squashfs(upper, "-p", "bin/gone c 0 0 0 0 0")),
        tar(file("bin/last", "x")),
    )
    kinds = (*[SQUASHFS_LAYER] * 3, f"{OCI}.layer.v1.tar")
    pushed = zip(layers, kinds, strict=True)
    digest = push(served, *pushed, config=with_layers(*layers))
    image = get(pull=f"oras://{served.address}/image:sif")
    check(image, store)
    assert image.digest == digest
    assert (image.config.environment, image.config.has_own_words) == (("A=from docker",), False)
    found = sorted(path.name for path in (node(store).directory(image) / "bin").iterdir())
    assert found == ["last", "new", "tool"]


def test_a_damaged_layer_among_several(
    get: Get, store: Store, served: Registry, squashed: bytes
) -> None:
    layers = squashed, squashed[:2000]
    push(served, *((layer, SQUASHFS_LAYER) for layer in layers), config=with_layers(*layers))
    with pytest.raises(ImageError) as raised:
        get(pull=f"{served.address}/image:sif")
    name = hashlib.sha256(layers[1]).hexdigest()
    assert f"{served.address}/image:sif: layer sha256:{name} is damaged" in raised.value.problem
    assert "have it pushed again" in raised.value.advice
    assert list((store.path / "work").iterdir()) == []


def test_what_oras_was_given(
    get: Get, store: Store, served: Registry, squashed: bytes, tmp_path: Path
) -> None:
    root = tar(file("bin/tool", "a tool"), file("large", "no"))
    kinds = {"packed": gzip.compress(root), "tar": root}
    for tag, content in kinds.items():
        layer = (content, "application/vnd.acme.image")
        digest = push(served, layer, config=(b"{}", NO_CONFIG), tag=tag)
        image = get(pull=f"oras://{served.address}/image:{tag}")
        assert image.digest == digest
        assert (node(store).directory(image) / "bin/tool").read_text() == "a tool"
    # That of Singularity 2 has a line before it.
    for tag, content in {"plain": squashed, "old": LAUNCH + squashed}.items():
        layer = (content, f"{OCI}.layer.v1.tar")
        push(served, layer, config=(b"{}", NO_CONFIG), tag=tag)
        images = Images(store, {"CONTAINERS_REGISTRIES_CONF_DIR": "/none"}, tmp_path)
        image = images.get(f"oras://{served.address}/image:{tag}")
        assert (node(store).directory(image) / "bin/tool").read_text() == "a tool"


@pytest.mark.parametrize("typed", [True, False])
def test_of_several_architectures_ours_is_taken(
    get: Get,
    store: Store,
    served: Registry,
    squashed: bytes,
    *,
    typed: bool,
) -> None:
    entries = []
    for architecture in (OTHER, HERE):
        made = sif_of(squashed, architecture)
        digest = push(served, (made, SIF_LAYER), tag=architecture)
        entries.append(
            {
                "mediaType": f"{OCI}.manifest.v1+json",
                "digest": digest,
                "size": len(served.manifests[digest][0]),
                "platform": {"os": "linux", "architecture": architecture},
                **({"artifactType": SIF_CONFIG} if typed else {}),
            }
        )
    index = f"{OCI}.index.v1+json"
    served.add_manifest("all", {"mediaType": index, "manifests": entries}, index)
    image = get(pull=f"oras://{served.address}/image:all")
    check(image, store)
    assert image.digest == entries[1]["digest"]
    served.add_manifest("none", {"mediaType": index, "manifests": entries[:1]}, index)
    with pytest.raises(ImageError, match=f"no image for linux/{HERE}.*, only for linux/{OTHER}"):
        get(pull=f"oras://{served.address}/image:none")


def test_a_sif_image_in_a_layout(
    get: Get, store: Store, served: Registry, sif_file: bytes, tmp_path: Path
) -> None:
    """As `oras copy --to-oci-layout` makes it."""
    digest = push(served, (sif_file, SIF_LAYER))
    manifest, media_type = served.manifests[digest]
    entry = {"mediaType": media_type, "digest": digest, "size": len(manifest)}
    blobs = tmp_path / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    for name, content in (*served.blobs.items(), (digest, manifest)):
        (blobs / name.partition(":")[2]).write_bytes(content)
    (tmp_path / "layout/index.json").write_text(json.dumps({"manifests": [entry]}))
    image = get(load="layout")
    check(image, store)
    assert image.digest == digest


def test_layers_come_before_a_file_of_the_same_image(
    get: Get, served: Registry, sif_file: bytes
) -> None:
    files = push(served, (sif_file, SIF_LAYER))
    layers = served.add_image("layers", tar(file("a")), architecture=HERE)
    entries = [
        {
            "mediaType": f"{OCI}.manifest.v1+json",
            "digest": digest,
            "size": len(served.manifests[digest][0]),
            "platform": {"os": "linux", "architecture": HERE},
        }
        for digest in (files, layers)
    ]
    index = f"{OCI}.index.v1+json"
    served.add_manifest("both", {"mediaType": index, "manifests": entries}, index)
    assert get(pull=f"{served.address}/image:both").digest == layers


def test_a_sif_image_of_another_machine(
    get: Get, store: Store, served: Registry, squashed: bytes
) -> None:
    made = sif_of(squashed, OTHER)
    push(served, (made, SIF_LAYER))
    with pytest.raises(ImageError, match=f"image:sif: the image is for linux/{OTHER}, this mach"):
        get(pull=f"oras://{served.address}/image:sif")
    assert store.images() == []


def damaged(squashed: bytes) -> dict[str, bytes]:
    superblock = squashed[:96]
    return {"tables": superblock.ljust(len(squashed), b"x"), "cut": squashed[: len(squashed) // 2]}


@pytest.mark.parametrize("how", ["tables", "cut"])
def test_a_damaged_file_is_not_published(
    get: Get, store: Store, served: Registry, squashed: bytes, how: str
) -> None:
    push(served, (damaged(squashed)[how], SQUASHFS_LAYER))
    with pytest.raises(InvalidImage, match=r"image:sif is damaged.*: .*pushed again"):
        get(pull=f"oras://{served.address}/image:sif")
    assert store.images() == []
    assert list((store.path / "work").iterdir()) == []


def test_what_the_registry_sends_is_checked(
    get: Get, store: Store, served: Registry, sif_file: bytes
) -> None:
    push(served, (sif_file, SIF_LAYER))
    digest = f"sha256:{hashlib.sha256(sif_file).hexdigest()}"
    served.blobs[digest] = sif_file[:-1] + b"x"
    with pytest.raises(InvalidImage, match=f"blob {digest} does not match its digest"):
        get(pull=f"oras://{served.address}/image:sif")
    assert store.images() == []
    served.blobs[digest], served.break_after, served.breaks = sif_file, 300_000, 2
    check(get(pull=f"oras://{served.address}/image:sif"), store)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html>" + b"x" * 1000, "a web page (application/vnd.acme.config)"),
        (bytes(range(256)) * 40, "application/vnd.acme.config"),
        (b"\x7fELF" + bytes(1000), "a program (ELF) (application/vnd.acme.config)"),
    ],
)
def test_what_is_no_image_is_not_downloaded_to_its_end(
    get: Get, served: Registry, content: bytes, words: str
) -> None:
    layer = (content + bytes(1 << 22), "application/vnd.acme.model")
    push(served, layer, config=(b"{}", "application/vnd.acme.config"))
    with pytest.raises(NoContainerImage) as raised:
        get(pull=f"{served.address}/image:sif")
    assert f"image:sif: it is no container image but {words}: " in str(raised.value)


def test_a_name_with_a_digest_is_no_url_with_a_password(get: Get) -> None:
    name = f"docker://debian@sha256:{'0' * 64}"
    with pytest.raises(ImageError, match=f"the image {name} is not in the store"):
        get(When.NEVER, pull=name)


def test_a_short_file_is_told_like_a_long_one(get: Get, served: Registry) -> None:
    for content in (b"", b"short"):
        push(served, (content, "application/vnd.acme"), config=(b"{}", NO_CONFIG))
        with pytest.raises(InvalidImage, match="image:sif is "):
            get(pull=f"{served.address}/image:sif")


@pytest.mark.parametrize("tag", ["apptainer", "oras", "this", "index", "plain-index"])
def test_what_apptainer_and_oras_have_pushed(
    registry_of_sifs: str, store: Store, get: Get, tag: str
) -> None:
    image = get(pull=f"oras://{registry_of_sifs}/tests/busybox:{tag}")
    assert image.config.working_directory
    assert (node(store).directory(image) / "bin/busybox").exists()
    assert [found.quarantined for found in verify(store)] == [None]


def test_what_oras_has_pushed_for_another_machine(registry_of_sifs: str, get: Get) -> None:
    with pytest.raises(ImageError, match=r"busybox:other: the image is for .*, this machine"):
        get(pull=f"oras://{registry_of_sifs}/tests/busybox:other")
