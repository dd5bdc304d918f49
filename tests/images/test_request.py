# SPDX-License-Identifier: Apache-2.0
"""Images as a DockerRequirement names them, other than by a registry."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from needs import need
from node_images import node
from tar_layers import Entry, describe, directory, entry, file, hardlink, symlink, tar

from cwl_udss.errors import ImageError, InvalidImage, RegistryError
from cwl_udss.images.layers.compression import zstd
from cwl_udss.images.locations import file_name, is_path
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.pull import Images, When
from cwl_udss.images.request import ImageRequest, RequestedImages, parse_request
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store

lzma = pytest.importorskip("lzma")

LOWER = tar(directory("bin"), file("bin/tool", "old"), file("bin/gone"))
UPPER = tar(file("bin/tool", "new"), file("bin/.wh.gone", ""))
CONTENT = {"bin": "dir", "bin/tool": "new"}


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def config(*layers: bytes, **fields: Any) -> bytes:
    document = {
        "os": "linux",
        "architecture": this_platform().architecture,
        "config": {"Env": ["A=b"], "Cmd": ["tool"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }
    return json.dumps({**document, **fields}).encode()


def docker_archive(**listing: Any) -> bytes:
    """As `docker save` wrote them up to version 24: a layer that images share is a link."""
    document = config(LOWER, UPPER)
    image = {"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["1/layer.tar", "2/layer.tar"]}
    return tar(
        directory("1"),
        file("3/layer.tar", LOWER.decode()),
        symlink("1/layer.tar", "../3/layer.tar"),
        file("2/layer.tar", UPPER.decode()),
        file("c.json", document.decode()),
        file("manifest.json", json.dumps([{**image, **listing}])),
    )


def blob(content: bytes) -> tuple[dict[str, Any], Entry]:
    name = digest(content)
    path = f"blobs/{name.replace(':', '/')}"
    return {"digest": name, "size": len(content)}, entry(path, tarfile.REGTYPE, content)


def oci_archive(images: int = 1) -> bytes:
    kind = "application/vnd.oci.image"
    layers = [blob(gzip.compress(layer, mtime=0)) for layer in (LOWER, UPPER)]
    config_blob = blob(config(LOWER, UPPER))
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": {**config_blob[0], "mediaType": f"{kind}.config.v1+json"},
        "layers": [{**d, "mediaType": f"{kind}.layer.v1.tar+gzip"} for d, _ in layers],
    }
    manifest_blob = blob(json.dumps(manifest).encode())
    image = {**manifest_blob[0], "mediaType": f"{kind}.manifest.v1+json"}
    return tar(
        file("oci-layout", '{"imageLayoutVersion": "1.0.0"}'),
        file("index.json", json.dumps({"schemaVersion": 2, "manifests": [image] * images})),
        *(member for _, member in (*layers, config_blob, manifest_blob)),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def get(store: Store, tmp_path: Path) -> Callable[..., StoredImage]:
    """Ask as a new run does."""

    def get(when: When = When.MISSING, base: Path = tmp_path, **fields: str) -> StoredImage:
        environment = {"CONTAINERS_REGISTRIES_CONF_DIR": str(tmp_path / "none")}
        images = Images(store, environment, tmp_path)

        def no_runtime() -> Any:
            raise AssertionError("nothing is built here")

        request = ImageRequest(**fields, base=base)
        return RequestedImages(images, store, node(store), no_runtime, when).get(request)

    return get


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstd.compress],
    ids=["plain", "gzip", "bzip2", "xz", "zstd"],
)
@pytest.mark.parametrize("archive", [docker_archive, oci_archive])
def test_load(
    get: Any,
    store: Store,
    tmp_path: Path,
    archive: Callable[[], bytes],
    compress: Callable[[bytes], bytes],
) -> None:
    (tmp_path / "image.tar").write_bytes(compress(archive()))
    image = get(load="image.tar")
    assert {path: what for path, what in describe(image.path).items() if path in CONTENT} == CONTENT
    assert not (image.path / "bin/gone").exists()
    assert (image.config.environment, image.config.command) == (("A=b",), ("tool",))
    assert list((store.path / "work").iterdir()) == []


def test_a_file_is_read_again_only_when_it_has_changed(get: Any, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(docker_archive())
    first = get(load=f"file://{tmp_path}/image.tar")
    assert get(load="image.tar").path == first.path
    (tmp_path / "image.tar").write_bytes(oci_archive())
    assert get(load="image.tar").path != first.path


def test_import(get: Any, tmp_path: Path) -> None:
    (tmp_path / "root.tar.gz").write_bytes(gzip.compress(LOWER))
    image = get(import_="root.tar.gz")
    assert (image.path / "bin/tool").read_text() == "old"
    assert image.config.command == ()


def test_an_image_id_names_what_was_loaded(get: Any, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(docker_archive())
    loaded = get(load="image.tar", image_id="mine:1")
    (tmp_path / "image.tar").unlink()
    assert get(image_id="mine:1").path == loaded.path
    assert get(image_id=loaded.digest).path == loaded.path


def test_an_image_id_may_be_a_path(get: Any, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(docker_archive())
    (tmp_path / "root.tar").write_bytes(LOWER)
    (tmp_path / "root").mkdir()
    assert (get(image_id="./image.tar").path / "bin/tool").read_text() == "new"
    assert (get(image_id=str(tmp_path / "root.tar")).path / "bin/tool").read_text() == "old"
    assert get(image_id="./root").path == tmp_path / "root"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server for the files in tmp_path."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_is_at_a_url_is_downloaded_once(get: Any, tmp_path: Path, web: str) -> None:
    (tmp_path / "image.tar").write_bytes(docker_archive())
    first = get(load=f"{web}/image.tar")
    (tmp_path / "image.tar").write_bytes(oci_archive())
    assert get(load=f"{web}/image.tar").path == first.path
    assert get(When.NEVER, load=f"{web}/image.tar").path == first.path
    assert get(When.ALWAYS, load=f"{web}/image.tar").path != first.path


def test_what_is_not_to_be_had(get: Any, tmp_path: Path, web: str) -> None:
    (tmp_path / "root.tar").write_bytes(LOWER)
    (tmp_path / "text.tar").write_text("no tar at all" * 100)
    (tmp_path / "short.tar.gz").write_bytes(gzip.compress(docker_archive())[:-20])
    for fields, message in (
        ({"load": "none.tar"}, "none.tar cannot be read: No such file"),
        ({"load": "root.tar"}, "root.tar is no image: .*goes into dockerImport"),
        ({"import_": "text.tar"}, "text.tar"),
        ({"load": "short.tar.gz"}, "short.tar.gz ends in the middle of gzip"),
        ({"load": f"{web}/none.tar"}, "none.tar cannot be downloaded: 404"),
        ({"load": "http://127.0.0.1:1/x.tar"}, "x.tar cannot be downloaded"),
    ):
        with pytest.raises(ImageError, match=message):
            get(**fields)
    with pytest.raises(ImageError, match="where there is a network"):
        get(When.NEVER, load=f"{web}/other.tar")


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ({"Layers": ["1/layer.tar"]}, "1 layer, not its configuration's"),
        ({"Layers": ["2/layer.tar", "1/layer.tar"]}, "not those that its configuration names"),
        ({"Layers": ["../../etc/passwd", "2/layer.tar"]}, "lacks ../../etc/passwd"),
        ({"Config": "manifest.json"}, "configuration is malformed"),
        ({"Config": None}, "lacks None"),
    ],
)
def test_archives_that_contradict_themselves(
    get: Any, tmp_path: Path, listing: dict[str, Any], message: str
) -> None:
    (tmp_path / "image.tar").write_bytes(docker_archive(**listing))
    with pytest.raises(InvalidImage, match=message):
        get(load="image.tar")


def test_a_layer_named_by_no_digest_gets_no_path(get: Any, tmp_path: Path) -> None:
    document = config(rootfs={"diff_ids": ["sha256:../../../evil", digest(UPPER)]})
    image = {"Config": "c.json", "Layers": ["1", "2"]}
    (tmp_path / "image.tar").write_bytes(
        tar(
            file("1", LOWER.decode()),
            file("2", UPPER.decode()),
            file("c.json", document.decode()),
            file("manifest.json", json.dumps([image])),
        )
    )
    with pytest.raises(InvalidImage, match="not its configuration's"):
        get(load="image.tar")


def test_one_image_of_several_is_not_guessed(get: Any, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(oci_archive(images=2))
    with pytest.raises(InvalidImage, match="holds 2 images"):
        get(load="image.tar")


def unpacked(archive: bytes, path: Path) -> Path:
    """The directory with what is in an archive."""
    path.mkdir()
    subprocess.run(["tar", "-C", path, "-xf", "-"], input=archive, check=True)
    return path


def transport_directory(path: Path, document: bytes = b"", name: str = "manifest.json") -> Path:
    """As `skopeo copy … dir:PATH` and `podman save --format docker-dir` write them."""
    layout = unpacked(oci_archive(), path.with_name(f"{path.name}.layout"))
    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    path.mkdir()
    for content in (layout / "blobs/sha256").iterdir():
        shutil.copy(content, path / content.name)
    (path / entry["digest"].partition(":")[2]).rename(path / name)
    if document:
        (path / "manifest.json").write_bytes(document)
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    shutil.rmtree(layout)
    return path


DIRECTORIES = {
    "OCI layout": lambda path: unpacked(oci_archive(), path),
    "unpacked docker save": lambda path: unpacked(docker_archive(), path),
    "dir:": transport_directory,
}


@pytest.mark.parametrize("make", DIRECTORIES.values(), ids=DIRECTORIES.keys())
def test_directories_that_are_images(
    get: Any, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    made = make(tmp_path / "made")
    image = get(load="made")
    assert (image.path / "bin/tool").read_text() == "new"
    assert not (image.path / "bin/gone").exists()
    assert image.config.command == ("tool",)
    for name in ("./made", str(made), f"file://{made}"):
        assert get(image_id=name).digest == image.digest
    assert get(load=f"file://{made}").digest == image.digest
    with pytest.raises(InvalidImage, match=r"made is an image, and no root .* dockerLoad"):
        get(import_="made")


def test_the_same_image_has_one_digest(get: Any, tmp_path: Path) -> None:
    (tmp_path / "oci.tar").write_bytes(oci_archive())
    unpacked(oci_archive(), tmp_path / "layout")
    transport_directory(tmp_path / "transport")
    found = {get(load=name).digest for name in ("oci.tar", "layout", "transport")}
    assert len(found) == 1


@pytest.mark.parametrize("transport", ["oci", "dir", "docker-archive", "oci-archive"])
def test_what_skopeo_writes(get: Any, tmp_path: Path, transport: str) -> None:
    if shutil.which("skopeo") is None:
        need("needs the Debian package skopeo")
    unpacked(oci_archive(), tmp_path / "layout")
    name = f"{transport}:made" if transport != "docker-archive" else f"{transport}:made:a:1"
    command = ["skopeo", "--insecure-policy", "copy", "-q", "oci:layout", name]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (get(image_id="./made").path / "bin/tool").read_text() == "new"


def test_a_directory_is_read_again_when_something_in_it_has_changed(
    get: Any, tmp_path: Path
) -> None:
    made = unpacked(oci_archive(), tmp_path / "made")
    first = get(load="made")
    assert get(load="made").digest == first.digest
    changed = config(LOWER, UPPER, config={"Cmd": ["other"]})
    (made / "manifest.json").write_text(json.dumps([{"Config": "c", "Layers": ["1", "2"]}]))
    for name, content in (("c", changed), ("1", LOWER), ("2", UPPER)):
        (made / name).write_bytes(content)
    assert get(load="made").config.command == ("other",)


def test_of_a_list_in_a_directory_the_one_for_this_machine_is_taken(
    get: Any, tmp_path: Path
) -> None:
    """As `skopeo copy --all` writes them."""
    single = transport_directory(tmp_path / "single")
    manifest = (single / "manifest.json").read_bytes()
    found = this_platform()
    platforms = [
        {"os": found.os, "architecture": "mips"},
        {"os": found.os, "architecture": found.architecture},
    ]
    entries = [
        {"digest": digest(content), "size": len(content), "platform": platform}
        for content, platform in zip((b"other", manifest), platforms, strict=True)
    ]
    listing = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    }
    name = f"{digest(manifest).partition(':')[2]}.manifest.json"
    transport_directory(tmp_path / "made", json.dumps(listing).encode(), name)
    assert get(load="made").digest == digest(manifest) == get(load="single").digest


@pytest.mark.parametrize(
    "files",
    [
        {"manifest.json": '{"name": "an application of the web"}'},
        {"manifest.json": "[]", "index.json": "[1]"},
        {"manifest.json": '[{"Config": "x"}]', "version": "1.2"},
        {"index.json": '{"pages": []}', "manifest.json": "no JSON"},
        {"manifest.json": "[" * 100_000},
        {"repositories": '{"main": {"url": "x"}}', "config.json": '{"root": 1}'},
    ],
)
def test_a_root_filesystem_may_have_files_that_are_called_so(
    get: Any, tmp_path: Path, files: dict[str, str]
) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "version").symlink_to("/etc/hostname")
    for name, content in files.items():
        (root / name).unlink(missing_ok=True)
        (root / name).write_text(content)
    assert get(image_id="./root").path == root
    (tmp_path / "root.tar").write_bytes(tar(*(file(name, files[name]) for name in files)))
    assert (get(image_id="./root.tar").path / next(iter(files))).exists()


def test_what_a_root_filesystem_keeps_to_itself_is_no_sign(get: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "manifest.json").write_text("[]")
    (root / "manifest.json").chmod(0)
    assert get(image_id="./root").path == root


def test_a_directory_that_is_no_image(get: Any, tmp_path: Path) -> None:
    (tmp_path / "root/bin").mkdir(parents=True)
    for fields in ({"load": "root"}, {"import_": "root"}):
        with pytest.raises(
            InvalidImage, match=r"root is a directory, and no image: .*dockerImageId"
        ):
            get(**fields)


@pytest.mark.parametrize("archive", [docker_archive, oci_archive])
def test_an_image_is_no_root_filesystem(
    get: Any, tmp_path: Path, archive: Callable[[], bytes]
) -> None:
    (tmp_path / "image.tar").write_bytes(archive())
    with pytest.raises(InvalidImage, match=r"image.tar is an image, and no root .* dockerLoad"):
        get(import_="image.tar")


OLD_ARCHIVE = tar(
    file("repositories", json.dumps({"a": {"1": "abc"}})),
    file("abc/VERSION", "1.0"),
    file("abc/json", '{"id": "abc"}'),
    file("abc/layer.tar", LOWER.decode()),
)
BUNDLE = tar(
    file("config.json", json.dumps({"ociVersion": "1.0.2", "root": {"path": "rootfs"}})),
    directory("rootfs"),
)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (OLD_ARCHIVE, r"made is an image as Docker before 1\.10 saved it: .* save it again"),
        (BUNDLE, r"made is a bundle for an OCI runtime: .* \(rootfs\)"),
    ],
    ids=["old Docker", "bundle"],
)
@pytest.mark.parametrize("fields", [{"load": "made"}, {"import_": "made"}, {"image_id": "./made"}])
def test_what_only_holds_a_root_filesystem_is_none(
    get: Any, tmp_path: Path, archive: bytes, message: str, fields: dict[str, str]
) -> None:
    (tmp_path / "made").write_bytes(archive)
    with pytest.raises(InvalidImage, match=message):
        get(**fields)
    (tmp_path / "made").unlink()
    unpacked(archive, tmp_path / "made")
    with pytest.raises(InvalidImage, match=message):
        get(**fields)


def test_an_empty_layout(get: Any, tmp_path: Path) -> None:
    """As `umoci init` makes it."""
    made = unpacked(oci_archive(images=0), tmp_path / "made")
    with pytest.raises(InvalidImage, match=f"{made}: its index lists no images: save one into it"):
        get(load="made")


def test_no_link_is_followed_out_of_a_directory(get: Any, tmp_path: Path) -> None:
    made = unpacked(oci_archive(), tmp_path / "made")
    blobs = made / "blobs/sha256"
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidImage, match=r"made lacks blobs/sha256/.* \(cp -rL\)"):
        get(load="made")
    blobs.unlink()
    (tmp_path / "elsewhere").rename(made / "inside")
    blobs.symlink_to("../inside")
    assert (get(load="made").path / "bin/tool").read_text() == "new"


def test_a_blob_that_is_another(get: Any, tmp_path: Path) -> None:
    for name in ("layout", "transport"):
        made = DIRECTORIES["OCI layout" if name == "layout" else "dir:"](tmp_path / name)
        layer = gzip.compress(UPPER, mtime=0)
        (path,) = made.rglob(digest(layer).partition(":")[2])
        for content in (b"x" + layer[1:], layer[:-10], gzip.compress(LOWER, mtime=0)):
            path.write_bytes(content)
            with pytest.raises(InvalidImage, match=f"{digest(layer)} is not what its name says"):
                get(load=name)
        path.unlink()
        with pytest.raises(InvalidImage, match=f"{name} lacks .*, which it names: save it again"):
            get(load=name)


def test_a_damaged_layer_in_an_archive_was_not_pushed(get: Any, tmp_path: Path) -> None:
    damaged = gzip.compress(LOWER)[:-20]
    (tmp_path / "image.tar").write_bytes(
        tar(
            file("c.json", config(LOWER).decode()),
            entry("1", tarfile.REGTYPE, damaged),
            file("manifest.json", json.dumps([{"Config": "c.json", "Layers": ["1"]}])),
        )
    )
    message = "image.tar: a layer ends in the middle of gzip: save it again"
    with pytest.raises(InvalidImage, match=message):
        get(load="image.tar")


@pytest.mark.parametrize(
    "text",
    [
        *("/x/y", "./x", "../x", "~/x", ".", "file:///x", "wf.cwl", "dir/wf.cwl", "wf.cwl#main"),
        *("a/b.tar", "x.TAR.GZ", "image.sif", "quay.io/no-such/wf.cwl", "x#y", "lay/", "a:1/"),
        *("..", "file:/x", "file://host/x"),
    ],
)
def test_what_can_only_be_a_path(text: str) -> None:
    assert is_path(text)


@pytest.mark.parametrize(
    "text",
    [
        *("busybox", "busybox:1.36", "foo/bar:1", "localhost:5000/a/b", "quay.io/a/b:1.tar"),
        *("a/b.tar:1", f"x.sif@sha256:{'0' * 64}", "docker.io/library/cwl", "a/tar", "sha256:abc"),
        *("https://example.org/wf.cwl", "docker://busybox", "file:1"),
    ],
)
def test_what_may_be_the_name_of_an_image(text: str) -> None:
    assert not is_path(text)


def test_a_mistyped_path_is_not_asked_for_at_a_registry(get: Any, tmp_path: Path) -> None:
    for name in ("./none.sif", "none.tar", "none/x.tar.gz", "/nowhere/image"):
        with pytest.raises(ImageError, match=f"there is no file {name}: look at its path"):
            get(image_id=name)
    for name in ("./none.sif", "images/none.sif", "none.tar", "dir/"):
        with pytest.raises(ImageError, match=f"{name} is a path, .*: a file goes into dockerLoad"):
            get(pull=name)
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1 does not answer for an/image\.tar"):
        get(pull="127.0.0.1:1/an/image.tar")
    (tmp_path / "image.tar").write_bytes(docker_archive())
    image = get(load="image.tar", image_id="named.tar")
    assert get(pull="named.tar").digest == image.digest
    assert get(image_id="named.tar").digest == image.digest


def test_a_file_has_one_name_from_wherever_it_is_asked_for(
    get: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files of one relative path may have the same size and time."""
    contents = ("first", "other")
    for content in contents:
        (tmp_path / content).mkdir()
        (tmp_path / content / "root.tar").write_bytes(tar(file("name", content)))
        os.utime(tmp_path / content / "root.tar", (1e9, 1e9))
    for content in contents:
        monkeypatch.chdir(tmp_path / content)
        image = get(image_id="./root.tar", base=Path())
        assert (image.path / "name").read_text() == content
        assert file_name("root.tar") == file_name(f"file://{tmp_path}/{content}/root.tar")
    names = {name for image in store.images() for name in image.references}
    assert names == {str(tmp_path / content / "root.tar") for content in contents}


def test_what_a_tar_may_not_hold_is_said_with_its_name(get: Any, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(tar(hardlink("a", "none")))
    message = f"{tmp_path}/root.tar: a layer has a hard link to 'none', which is no file"
    with pytest.raises(InvalidImage, match=message):
        get(import_="root.tar")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_what_may_not_be_read_is_not_said_to_be_absent(get: Any, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed/root.tar").write_bytes(LOWER)
    (tmp_path / "closed").chmod(0)
    for fields in ({"load": "closed/root.tar"}, {"image_id": f"{tmp_path}/closed/root.tar"}):
        with pytest.raises(ImageError, match="cannot be read: Permission denied"):
            get(**fields)
    (tmp_path / "closed").chmod(0o700)


@pytest.mark.parametrize("name", ["//[x", "file://[x", "x" * 300 + "/x", "/\0"])
def test_any_path_is_there_or_not(get: Any, name: str) -> None:
    for fields in ({"load": name}, {"image_id": name}):
        with pytest.raises(ImageError):
            get(**fields)


@pytest.mark.parametrize("location", ["file://root.tar", "file://host/dir/root.tar"])
def test_a_file_of_another_machine(get: Any, location: str) -> None:
    with pytest.raises(ImageError, match=r"is a file of the machine .*: write file:///"):
        get(image_id=location)


@pytest.mark.parametrize("field", ["pull", "image_id", "load"])
def test_files_and_directories_by_a_prefix(get: Any, tmp_path: Path, field: str) -> None:
    (tmp_path / "image.tar").write_bytes(docker_archive())
    layout = unpacked(oci_archive(), tmp_path / "layout")
    for name in (
        "docker-archive:image.tar",
        "docker-archive:image.tar:a:1",
        f"docker-archive://{tmp_path}/image.tar:@0",
        "oci:./layout",
        f"oci:{layout}",
        f"file://{tmp_path}/image.tar",
    ):
        assert (get(**{field: name}).path / "bin/tool").read_text() == "new", name
    with pytest.raises(ImageError, match=r"image\.tar holds no image 'b:1', but a:1: name one"):
        get(**{field: "docker-archive:image.tar:b:1"})
    with pytest.raises(ImageError, match=r"there is no file none|none.tar cannot"):
        get(**{field: "docker-archive:none.tar"})


def test_one_of_several_images_in_a_layout(get: Any, tmp_path: Path) -> None:
    layout = unpacked(oci_archive(images=2), tmp_path / "layout")
    index = json.loads((layout / "index.json").read_bytes())
    names = {"org.opencontainers.image.ref.name": "second"}
    index["manifests"][1]["annotations"] = names
    (layout / "index.json").write_text(json.dumps(index))
    with pytest.raises(InvalidImage, match="holds 2 images"):
        get(pull="oci:./layout")
    assert (get(pull="oci:./layout:second").path / "bin/tool").read_text() == "new"


def test_requirements() -> None:
    base = Path("/documents")
    assert parse_request({"dockerPull": "a", "dockerImageId": "b"}, base) == ImageRequest(
        pull="a", image_id="b", base=base
    )
    assert parse_request({"dockerImport": "x.tar"}, base).name == "x.tar"
    with pytest.raises(ImageError, match="names no image"):
        parse_request({"dockerOutputDirectory": "/out"}, base)


@pytest.mark.parametrize("field", ["dockerLoad", "dockerImport"])
def test_files_of_a_document_at_a_url_are_beside_it(field: str) -> None:
    base = "https://h.example/wf/tool.cwl?raw=1"
    for location, expected in (
        ("images/x.tar", "https://h.example/wf/images/x.tar"),
        ("../x.tar", "https://h.example/x.tar"),
        ("http://other.example/x.tar", "http://other.example/x.tar"),
        ("/shared/x.tar", "/shared/x.tar"),
    ):
        assert parse_request({field: location}, base).name == expected
