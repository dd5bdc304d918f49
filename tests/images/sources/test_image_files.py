# SPDX-License-Identifier: Apache-2.0
"""Files in a tar, by their paths, however the tar writes these."""

from __future__ import annotations

from pathlib import Path

import pytest
from tar_layers import file, tar

from cwl_udss.images.sources.image_files import open_tar


@pytest.mark.parametrize(
    "path",
    [
        "index.json",
        "./index.json",
        "/index.json",
        "//index.json",
        "././/index.json",
        "blobs/../index.json",
        "blobs/sha256/../.././index.json",
    ],
)
def test_what_is_in_no_directory_is_found(tmp_path: Path, path: str) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(tar(file("blobs/index.json", "other"), file(path, "content")))
    found = open_tar(archive, "image.tar", tmp_path)
    assert found.size("index.json") == len("content")
    assert b"".join(found.read("./index.json")) == b"content"


@pytest.mark.parametrize("path", ["blobs/index.json", "./.blobs/index.json", "a/b/../index.json"])
def test_what_is_in_a_directory_is_no_other_file(tmp_path: Path, path: str) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(tar(file(path, "content")))
    assert open_tar(archive, "image.tar", tmp_path).size("index.json") is None
