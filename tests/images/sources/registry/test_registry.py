# SPDX-License-Identifier: Apache-2.0
"""Talking to registries, friendly and otherwise."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import certifi
import pytest
from needs import need
from registry_server import OCI, Registry, serve
from tar_layers import file, gzipped

from cwl_udss.errors import ImageError, InvalidImage, MissingPart, NotFound, RegistryError
from cwl_udss.images.manifests.manifest import Descriptor, Platform
from cwl_udss.images.reference import parse_reference
from cwl_udss.images.sources.registry.client import RegistryClient
from cwl_udss.images.sources.registry.credentials import Credentials
from cwl_udss.images.sources.registry.registries import Endpoint, load_registries
from cwl_udss.images.sources.registry.remote import RemoteImage, find_image

AMD64 = Platform(os="linux", architecture="amd64")
MIA = Credentials(username="mia", password="secret")
BLOB = bytes(range(256)) * 20_000


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serve(Registry()) as running:
        yield running


@pytest.fixture
def blob(registry: Registry) -> Descriptor:
    return Descriptor(**_renamed(registry.add_blob(BLOB, "layer")))


def _renamed(descriptor: dict[str, Any]) -> dict[str, Any]:
    return {"media_type": descriptor.pop("mediaType"), **descriptor}


class Client(RegistryClient):
    """A client that notes how long it would have waited."""

    def __init__(
        self,
        registry: Registry,
        credentials: Credentials | None = None,
        *,
        insecure: bool = True,
        port: int | None = None,
    ) -> None:
        self.waits: list[float] = []
        endpoint = Endpoint(
            registry=f"127.0.0.1:{port or registry.port}", repository="image", insecure=insecure
        )
        super().__init__(endpoint, credentials, sleep=self.waits.append)


def read(client: RegistryClient, blob: Descriptor) -> bytes:
    return b"".join(client.blob(blob))


def test_a_blob(registry: Registry, blob: Descriptor) -> None:
    assert read(Client(registry), blob) == BLOB


@pytest.mark.parametrize("authentication", ["basic", "bearer"])
def test_authentication(registry: Registry, blob: Descriptor, authentication: str) -> None:
    registry.authentication = authentication
    assert read(Client(registry, MIA), blob) == BLOB


def test_a_public_image_needs_a_token_but_no_password(registry: Registry, blob: Descriptor) -> None:
    registry.authentication = "bearer"
    assert read(Client(registry), blob) == BLOB


def test_a_token_is_kept_and_renewed(registry: Registry, blob: Descriptor) -> None:
    registry.authentication = "bearer"
    client = Client(registry, MIA)
    for _ in range(3):
        read(client, blob)
    assert len(registry.paths("/token")) == 1
    registry.tokens_last = 0
    registry.tokens_last = 4
    for _ in range(3):
        read(client, blob)
    assert len(registry.paths("/token")) == 2


@pytest.mark.parametrize("authentication", ["basic", "bearer"])
def test_wrong_credentials(registry: Registry, blob: Descriptor, authentication: str) -> None:
    registry.authentication = authentication
    wrong = Credentials(username="mia", password="wrong")
    with pytest.raises(RegistryError, match=r"no access to image .*login") as raised:
        read(Client(registry, wrong), blob)
    assert "wrong" not in str(raised.value)


def test_no_credentials(registry: Registry, blob: Descriptor) -> None:
    registry.authentication = "basic"
    with pytest.raises(RegistryError, match="no access"):
        read(Client(registry), blob)


def test_netrc_is_left_alone(
    registry: Registry, blob: Descriptor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login netrc password netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    registry.authentication = "bearer"
    read(Client(registry), blob)
    sent = [headers.get("Authorization", "") for _, headers in registry.requests]
    assert not any(header.startswith("Basic") for header in sent)


def test_a_redirect_gets_no_credentials(registry: Registry, blob: Descriptor) -> None:
    registry.authentication = "bearer"
    with serve(Registry(blobs=registry.blobs)) as storage:
        registry.redirect_to = f"http://localhost:{storage.port}"
        assert read(Client(registry, MIA), blob) == BLOB
        assert storage.requests
        assert all("Authorization" not in headers for _, headers in storage.requests)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_registry_is_waited_for_as_it_asks(
    registry: Registry, blob: Descriptor, status: int
) -> None:
    registry.busy, registry.busy_status = 2, status
    client = Client(registry)
    assert read(client, blob) == BLOB
    assert client.waits == [7, 7]


def test_a_registry_that_stays_busy(registry: Registry, blob: Descriptor) -> None:
    registry.busy = 100
    with pytest.raises(RegistryError, match="too many requests"):
        read(Client(registry), blob)


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_broken_download_is_resumed(registry: Registry, blob: Descriptor, ranges: bool) -> None:
    registry.break_after, registry.breaks, registry.ranges = 2_000_000, 2, ranges
    assert read(Client(registry), blob) == BLOB
    asked = [headers.get("Range") for path, headers in registry.requests if "blobs" in path]
    assert asked[0] is None
    assert asked[1] is not None


def test_a_download_that_always_breaks(registry: Registry, blob: Descriptor) -> None:
    registry.break_after, registry.breaks = 0, 1000
    with pytest.raises(RegistryError, match="does not answer"):
        read(Client(registry), blob)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BLOB[:-1] + b"x", "does not match its digest: try again"),
        (BLOB + b"x", "longer than its manifest says: .*pushed again"),
        (BLOB[:-1], "shorter than its manifest says: .*pushed again"),
    ],
)
def test_a_blob_that_is_not_what_it_should_be(
    registry: Registry, blob: Descriptor, content: bytes, message: str
) -> None:
    registry.blobs[blob.digest] = content
    client = Client(registry)
    with pytest.raises(InvalidImage, match=message):
        read(client, blob)
    assert client.waits == []


@pytest.mark.parametrize("says_no_length", [False, True])
def test_a_blob_whose_size_nothing_says(
    registry: Registry, blob: Descriptor, says_no_length: bool
) -> None:
    unsized = replace(blob, size=None)
    registry.says_no_length = says_no_length
    assert read(Client(registry), unsized) == BLOB
    registry.blobs[blob.digest] = BLOB[:-1]
    with pytest.raises(InvalidImage, match="does not match its digest"):
        read(Client(registry), unsized)


def test_a_blob_whose_size_nothing_says_is_resumed(registry: Registry, blob: Descriptor) -> None:
    registry.break_after, registry.breaks = 2_000_000, 2
    assert read(Client(registry), replace(blob, size=None)) == BLOB


def test_a_blob_that_is_not_there(registry: Registry, blob: Descriptor) -> None:
    registry.blobs.clear()
    with pytest.raises(MissingPart, match=rf"image lacks the blob {blob.digest}.*pushed again"):
        read(Client(registry), blob)


def test_a_foreign_layer_that_is_not_there(registry: Registry, blob: Descriptor) -> None:
    foreign = replace(blob, urls=("https://layers.example/a", "https://layers.example/b"))
    assert read(Client(registry), foreign) == BLOB
    registry.blobs.clear()
    with pytest.raises(MissingPart, match=r"not distribute \(only layers.example may\)") as raised:
        read(Client(registry), foreign)
    assert "damaged" not in str(raised.value)
    nowhere = replace(blob, media_type="application/vnd.oci.image.layer.nondistributable.v1.tar")
    with pytest.raises(MissingPart, match="which it may not distribute: "):
        read(Client(registry), nowhere)


def test_manifest_by_digest_must_have_it(registry: Registry) -> None:
    digest = registry.add_image("1", gzipped(file("a")))
    assert Client(registry).manifest(digest)[1] == digest
    registry.manifests[digest] = (b'{"schemaVersion": 2}', f"{OCI}.manifest.v1+json")
    with pytest.raises(InvalidImage, match="does not match the digest"):
        Client(registry).manifest(digest)


def test_manifest_by_tag_must_match_the_header(registry: Registry) -> None:
    registry.add_image("1", gzipped(file("a")))
    registry.headers["Docker-Content-Digest"] = "sha256:" + "0" * 64
    with pytest.raises(InvalidImage, match="does not match the digest"):
        Client(registry).manifest("1")


def test_a_manifest_without_end(registry: Registry) -> None:
    registry.manifests["1"] = (b" " * (5 << 20), f"{OCI}.manifest.v1+json")
    with pytest.raises(InvalidImage, match="more than"):
        Client(registry).manifest("1")


def test_a_manifest_compressed_on_the_way(registry: Registry) -> None:
    digest = registry.add_image("1", gzipped(file("a")))
    registry.says_gzip = True
    document, found = Client(registry).manifest("1")
    assert (json.loads(document)["schemaVersion"], found) == (2, digest)


def test_a_manifest_that_was_cut_is_asked_for_again(registry: Registry) -> None:
    digest = registry.add_image("1", gzipped(file("a")))
    registry.cuts = 2
    client = Client(registry)
    assert client.manifest("1")[1] == digest
    assert len(client.waits) == 2
    registry.cuts = 100
    with pytest.raises(RegistryError, match="does not answer to the end for image"):
        client.manifest("1")


def test_a_manifest_that_is_called_compressed_and_is_not(registry: Registry) -> None:
    registry.add_image("1", gzipped(file("a")))
    registry.headers["Content-Encoding"] = "gzip"
    with pytest.raises(RegistryError, match="cannot be decompressed"):
        Client(registry).manifest("1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"\n<!DOCTYPE html><title>Log in</title>", "with a web page: .*login"),
        (b"", "with what is no manifest"),
        (b'["error"]', "with what is no manifest"),
    ],
)
def test_what_is_no_manifest_at_all(registry: Registry, answer: bytes, message: str) -> None:
    registry.manifests["1"] = (answer, "text/html")
    with pytest.raises(
        RegistryError, match=f"127.0.0.1:{registry.port} answers for image {message}"
    ):
        Client(registry).manifest("1")


def test_a_manifest_with_a_byte_order_mark(registry: Registry, find: Any) -> None:
    registry.add_image("1", gzipped(file("a")))
    content, media_type = registry.manifests["1"]
    registry.manifests["1"] = (b"\xef\xbb\xbf" + content, media_type)
    assert find("{address}/image:1").image.layers


@pytest.mark.parametrize("header", ["md5:0", "sha512:", "nothing", ""])
def test_a_digest_of_another_kind(registry: Registry, header: str) -> None:
    digest = registry.add_image("1", gzipped(file("a")))
    document = registry.manifests["1"][0]
    whole = hashlib.sha512(document).hexdigest()
    registry.headers["Docker-Content-Digest"] = f"{header}{whole}"
    assert Client(registry).manifest("1")[1] == digest


def test_the_old_format_is_what_is_asked_for_last(registry: Registry) -> None:
    registry.add_image("1", gzipped(file("a")))
    Client(registry).manifest("1")
    asked = registry.requests[-1][1]["Accept"].split(", ")
    assert [".v1+" in kind and "docker" in kind for kind in asked] == [False] * 4 + [True] * 2


def test_a_manifest_that_another_one_lists_is_no_name_to_look_for(registry: Registry) -> None:
    digest = f"sha256:{0:064}"
    with pytest.raises(MissingPart, match=f"image lacks the manifest {digest}"):
        Client(registry).listed_manifest(digest)


def test_a_blob_called_compressed_stays_as_it_is(registry: Registry) -> None:
    # So do stores behind registries that were told so of a layer when it came.
    registry.says_gzip = True
    layer = gzipped(file("a"))
    blob = Descriptor(**_renamed(registry.add_blob(layer, "layer")))
    assert read(Client(registry), blob) == layer


def test_not_found(registry: Registry) -> None:
    with pytest.raises(NotFound, match="image has no such image or tag"):
        Client(registry).manifest("nothing")


def test_nobody_listens(registry: Registry) -> None:
    client = Client(registry, port=1)
    with pytest.raises(RegistryError, match=r"127.0.0.1:1 does not answer.*refused"):
        client.manifest("1")
    assert client.waits == []


def test_plain_http_only_where_it_is_allowed(registry: Registry) -> None:
    registry.add_image("1", gzipped(file("a")))
    assert Client(registry).manifest("1")
    with pytest.raises(RegistryError, match="insecure = true"):
        Client(registry, insecure=False).manifest("1")


def test_an_insecure_registry_needs_no_known_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        need("needs the Debian package openssl")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=nobody")
    command = [*request, "-out", certificate, "-keyout", key]
    subprocess.run(command, check=True, capture_output=True)
    with certificate.open("a") as stream:
        stream.write(key.read_text())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    with serve(Registry(), certificate) as registry:
        registry.add_image("1", gzipped(file("a")))
        assert Client(registry).manifest("1")
        with pytest.raises(RegistryError, match="cannot be trusted"):
            Client(registry, insecure=False).manifest("1")


# Finding an image: names, mirrors, platforms.


@pytest.fixture
def find(registry: Registry, tmp_path: Path) -> Any:
    def find(text: str, configuration: str = "") -> RemoteImage:
        path = tmp_path / "registries.conf"
        path.write_text(configuration.format(address=registry.address))
        environment = {"CONTAINERS_REGISTRIES_CONF": str(path)}
        return find_image(
            parse_reference(text.format(address=registry.address)),
            platform=AMD64,
            registries=load_registries(environment, tmp_path, tmp_path),
            environment=environment,
            home=tmp_path,
        )

    return find


def add_index(registry: Registry, tag: str, *images: tuple[str, str]) -> str:
    manifests = []
    for digest, platform in images:
        os, architecture = platform.split("/")
        content, media_type = registry.manifests[digest]
        manifests.append(
            {
                "mediaType": media_type,
                "digest": digest,
                "size": len(content),
                "platform": {"os": os, "architecture": architecture},
            }
        )
    document = {"schemaVersion": 2, "manifests": manifests}
    return registry.add_manifest(tag, document, f"{OCI}.index.v1+json")


def test_the_image_for_this_platform(registry: Registry, find: Any) -> None:
    ours = registry.add_image("x", gzipped(file("a")))
    theirs = registry.add_image("y", gzipped(file("b")), architecture="arm64")
    add_index(registry, "1", (theirs, "linux/arm64"), (ours, "linux/amd64"))
    image = find("{address}/image:1")
    assert image.digest == ours
    assert image.image.config.command == ("sh",)


def test_no_image_for_this_platform(registry: Registry, find: Any) -> None:
    theirs = registry.add_image("x", gzipped(file("a")), architecture="arm64")
    add_index(registry, "1", (theirs, "linux/arm64"))
    with pytest.raises(ImageError, match=r"image:1: .*only for linux/arm64"):
        find("{address}/image:1")
    with pytest.raises(ImageError, match=r"is for linux/arm64, this machine is linux/amd64"):
        find("{address}/image:x")


def test_a_list_in_a_list(registry: Registry, find: Any) -> None:
    ours = registry.add_image("x", gzipped(file("a")))
    inner = add_index(registry, "y", (ours, "linux/amd64"))
    add_index(registry, "1", (inner, "linux/amd64"))
    assert find("{address}/image:1").digest == ours


def test_a_list_of_what_the_registry_lacks(registry: Registry, find: Any) -> None:
    ours = registry.add_image("x", gzipped(file("a")))
    add_index(registry, "1", (ours, "linux/amd64"))
    del registry.manifests[ours]
    with pytest.raises(MissingPart, match=f"lacks the manifest {ours}.*pushed again"):
        find("{address}/image:1")


SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize(
    "media_type", [f"{SCHEMA_1}+prettyjws", f"{SCHEMA_1}+json", "application/json", "text/plain"]
)
def test_schema_1(registry: Registry, find: Any, media_type: str, signed: bool) -> None:
    layers = (gzipped(file("a")), None, gzipped(file("b")))
    digest = registry.add_schema_1("1", *layers, media_type=media_type, signed=signed)
    for declared in ({}, {"Docker-Content-Digest": digest}):
        registry.headers = declared
        for name in ("{address}/image:1", "{address}/image@" + digest):
            found = find(name)
            assert (found.digest, len(found.image.layers)) == (digest, 2)
            assert (found.image.config.command, found.source.diff_ids) == (("sh",), None)


def test_schema_1_in_a_list(registry: Registry, find: Any) -> None:
    digest = registry.add_schema_1("old", gzipped(file("a")), signed=True)
    add_index(registry, "1", (digest, "linux/amd64"))
    assert find("{address}/image:1").digest == digest


def test_schema_1_with_another_payload_than_its_digest_is_of(registry: Registry, find: Any) -> None:
    digest = registry.add_schema_1("1", gzipped(file("a")), signed=True)
    content, media_type = registry.manifests[digest]
    registry.manifests[digest] = (content.replace(b"amd64", b"arm64"), media_type)
    with pytest.raises(InvalidImage, match=f"does not match the digest {digest}"):
        find("{address}/image@" + digest)


def test_schema_1_for_another_machine(registry: Registry, find: Any) -> None:
    registry.add_schema_1("1", gzipped(file("a")))
    content, media_type = registry.manifests["1"]
    registry.manifests["1"] = (content.replace(b"amd64", b"ppc64le"), media_type)
    with pytest.raises(ImageError, match="is for linux/ppc64le, this machine is linux/amd64"):
        find("{address}/image:1")


MIRROR = """
[[registry]]
prefix = "127.0.0.1:1"
location = "127.0.0.1:1"
[[registry.mirror]]
location = "{address}"
"""


def test_a_mirror_is_asked_first(registry: Registry, find: Any) -> None:
    digest = registry.add_image("1", gzipped(file("a")))
    image = find("127.0.0.1:1/image:1", MIRROR)
    assert (image.digest, str(image.reference)) == (digest, "127.0.0.1:1/image:1")


def test_the_registry_is_asked_when_its_mirror_has_not_got_it(
    registry: Registry, find: Any
) -> None:
    digest = registry.add_image("1", gzipped(file("a")))
    for mirror in ("127.0.0.1:1", "{address}/empty"):
        configuration = (
            '[[registry]]\nprefix = "{address}"\nlocation = "{address}"\n'
            f'[[registry.mirror]]\nlocation = "{mirror}"\n'
        )
        assert find("{address}/image:1", configuration).digest == digest


def test_all_that_were_tried_are_named(registry: Registry, find: Any) -> None:
    with pytest.raises(RegistryError) as raised:
        find("127.0.0.1:1/image:1", MIRROR)
    message = str(raised.value)
    assert "127.0.0.1:1 does not answer" in message
    assert f"tried {registry.address}/image, 127.0.0.1:1/image" in message


def test_a_short_name_is_searched(registry: Registry, find: Any) -> None:
    registry.add_image("1", gzipped(file("a")))
    image = find("image:1", 'unqualified-search-registries = ["127.0.0.1:1", "{address}"]')
    assert str(image.reference) == f"{registry.address}/image:1"
