# SPDX-License-Identifier: Apache-2.0
"""One of several images in an archive or layout, by what follows its path."""

from __future__ import annotations

import json

import pytest

from cwl_udss.errors import ImageError
from cwl_udss.images.sources.several_images import choose_indexed, choose_listed

LISTING = [
    {"Config": "0", "RepoTags": ["debian:12", "docker.io/library/debian:stable"]},
    {"Config": "1", "RepoTags": ["quay.io/a/b:1"]},
    {"Config": "2", "RepoTags": None},
]
INDEX = {
    "schemaVersion": 2,
    "manifests": [
        {"digest": "0", "annotations": {"org.opencontainers.image.ref.name": "1.0"}},
        {
            "digest": "1",
            "annotations": {
                "io.containerd.image.name": "docker.io/library/debian:12",
                "org.opencontainers.image.ref.name": "12",
            },
        },
        {"digest": "2"},
    ],
}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        *(("", "012"), ("debian:12", "0"), ("docker.io/debian:12", "0"), ("debian:stable", "0")),
        *(("quay.io/a/b:1", "1"), ("@0", "0"), ("@2", "2")),
    ],
)
def test_what_docker_save_has_written(chosen: str, expected: str) -> None:
    found = choose_listed(LISTING, chosen, "a.tar")
    assert "".join(entry["Config"] for entry in found) == expected


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [("", "012"), ("1.0", "0"), ("12", "1"), ("debian:12", "1"), ("@2", "2")],
)
def test_a_layout(chosen: str, expected: str) -> None:
    found = json.loads(choose_indexed(json.dumps(INDEX).encode(), chosen, "a"))
    assert found["schemaVersion"] == 2
    assert "".join(entry["digest"] for entry in found["manifests"]) == expected


@pytest.mark.parametrize("chosen", ["debian:13", "b:1", "@3", "@-1", "@", "A B"])
def test_what_is_not_there(chosen: str) -> None:
    with pytest.raises(ImageError, match=r"a.tar holds no image '.*', but debian:12, .*b:1: name"):
        choose_listed(LISTING, chosen, "a.tar")
    with pytest.raises(ImageError, match=r"a holds no image '.*', but 1\.0, "):
        choose_indexed(json.dumps(INDEX).encode(), chosen, "a")
