# SPDX-License-Identifier: Apache-2.0
"""Prefixes as other programs take them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwl_udss.images.locations import (
    address_digest,
    file_name,
    is_path,
    local_path,
    split_member,
)
from cwl_udss.images.transports import Kind, path_after_transport, split_transport

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "kind", "rest"),
    [
        ("docker://debian:12", Kind.REFERENCE, "debian:12"),
        ("oras://quay.io/a/b:1", Kind.REFERENCE, "quay.io/a/b:1"),
        ("ORAS://quay.io/a/b:1", Kind.REFERENCE, "quay.io/a/b:1"),
        ("https://h.example/a.sif", Kind.URL, "h.example/a.sif"),
        ("docker-archive:a.tar", Kind.PATH, "a.tar"),
        ("docker-archive://a.tar", Kind.PATH, "a.tar"),
        ("docker-archive:///x/a.tar", Kind.PATH, "/x/a.tar"),
        ("oci-archive:a.tar:b:1", Kind.PATH, "a.tar:b:1"),
        ("oci:./a", Kind.PATH, "./a"),
        ("oci:/a/b:1", Kind.PATH, "/a/b:1"),
        ("oci:a/b", Kind.PATH, "a/b"),
        ("oci://a", Kind.PATH, "a"),
        ("dir:../a", Kind.PATH, "../a"),
        ("sif:./a.sif", Kind.PATH, "./a.sif"),
        ("library://a/b", Kind.NOTHING_OF_OURS, "a/b"),
        ("docker-daemon:a:1", Kind.NOTHING_OF_OURS, "a:1"),
        ("gs://bucket/a.sif", Kind.NOTHING_OF_OURS, "//bucket/a.sif"),
    ],
)
def test_prefixes(text: str, kind: Kind, rest: str) -> None:
    transport, found = split_transport(text)
    assert transport is not None
    assert (transport.kind, found) == (kind, rest)
    assert (path_after_transport(text) == rest) == (kind is Kind.PATH)
    assert is_path(text) == (kind is Kind.PATH)


@pytest.mark.parametrize(
    "text",
    [
        *("debian", "oci:latest", "dir:1.0", "sif:5000/x", "docker:24", "oras:1", "http:1"),
        *("file:///x", "FILE:///x", "quay.io/a/b:1", "./a:b", ""),
    ],
)
def test_names_without_one(text: str) -> None:
    assert split_transport(text) == (None, text)


def test_what_follows_a_path_names_an_image_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.tar", "a:1.tar", "elsewhere/b.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for text, path, member in (
        ("docker-archive:a.tar", "a.tar", ""),
        ("docker-archive:a.tar:b:1", "a.tar", "b:1"),
        ("docker-archive:a:1.tar", "a:1.tar", ""),
        ("docker-archive:a:1.tar:quay.io/b:1", "a:1.tar", "quay.io/b:1"),
        ("docker-archive:b.tar:@1", "b.tar", "@1"),
        ("docker-archive:none.tar:b:1", "none.tar", "b:1"),
        ("./a.tar:b", "./a.tar:b", ""),
    ):
        assert split_member(text, tmp_path) == (path, member)
    assert local_path("docker-archive:a.tar:b:1", tmp_path) == tmp_path / "a.tar"
    assert local_path("docker-archive:b.tar:b:1", tmp_path) == tmp_path / "elsewhere/b.tar"
    assert file_name("oci-archive:b.tar:c:1") == f"{os.path.realpath('b.tar')}:c:1"


@pytest.mark.parametrize(
    ("url", "digest"),
    [
        (f"https://c.example/docker/registry/v2/blobs/sha256/01/{HEX}/data", f"sha256:{HEX}"),
        (f"https://c.example/v2/a/b/blobs/sha256:{HEX}", f"sha256:{HEX}"),
        (f"https://c.example/v2/a/b/blobs/sha256%3A{HEX}?x=1", f"sha256:{HEX}"),
        (f"https://c.example/blobs/sha256/{HEX}.sif", None),
        (f"https://c.example/a.sif?x=/blobs/sha256:{HEX}", None),
        ("https://depot.galaxyproject.org/singularity/samtools%3A1.17--h_0", None),
        (f"https://c.example/blobs/sha256/01/{HEX[:-1]}/data", None),
    ],
)
def test_the_digest_in_an_address(url: str, digest: str | None) -> None:
    assert address_digest(url) == digest
