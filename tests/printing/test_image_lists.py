# SPDX-License-Identifier: Apache-2.0
"""What is printed of images that others have named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cwl_udss.commands.printing import tables
from cwl_udss.commands.printing.images import print_images
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.manifests.manifest import parse_config
from cwl_udss.images.store.image import StoredImage

HOSTILE = "/tmp/[bold]a\x1b]0;title\x07\nb\u202e.sif"


def image(digest: str, *references: str, used: float | None, size: int = 1_500_000) -> StoredImage:
    return StoredImage(
        digest=f"sha256:{digest * 64}",
        format=ImageFormat.SQUASHFS,
        path=Path("/store") / digest,
        config=parse_config(b"{}"),
        size=size,
        entries=10,
        content="",
        references=references,
        last_used=used,
    )


IMAGES = [
    image("a", "docker.io/library/new:1", used=2e9),
    image("b", HOSTILE, used=1e9, size=500_000),
    image("c", "quay.io/x/one:1", "quay.io/x/two:2", used=1.5e9),
    image("d", used=None),
]


def listed(
    capsys: pytest.CaptureFixture[str], *patterns: str, as_json: bool = False
) -> tuple[list[str], str]:
    print_images(IMAGES, patterns, as_json=as_json)
    out, error = capsys.readouterr()
    return out.splitlines(), error


def test_a_line_for_each_name_the_last_used_last(capsys: pytest.CaptureFixture[str]) -> None:
    (head, *lines), error = listed(capsys)
    assert [line.split("  ")[0] for line in lines] == [
        "-",
        ["/tmp/[bold]a ]0;title", "b .sif"][0],
        "quay.io/x/one:1",
        "quay.io/x/two:2",
        "docker.io/library/new:1",
    ]
    places = {line.index("squashfs") for line in lines}
    assert places == {head.index("FORMAT")}
    assert all(line.isprintable() for line in lines)
    assert error == "4 images, 5.0 MB\n"


def test_some_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines, error = listed(capsys, "quay.io/*:2", "library/new")
    assert len(lines) == 4
    assert error == "2 images of 4, 3.0 MB\n"
    assert listed(capsys, "sha256:dd") == (listed(capsys, "dddd")[0], "1 image of 4, 1.5 MB\n")
    assert listed(capsys, "nothing") == ([], "0 images of 4, 0 bytes\n")


def test_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    print_images(IMAGES, (), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [entry["last_used"] for entry in found] == [None, 1e9, 1.5e9, 2e9]
    assert found[1]["references"] == [HOSTILE]


@pytest.mark.parametrize("width", [20, 80, 200])
def test_at_a_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cwl_udss.commands.printing.images.terminal_columns", lambda: width)
    monkeypatch.setenv("COLUMNS", str(width))
    lines, _ = listed(capsys)
    assert max(map(len, lines)) <= width
    assert all(line.isprintable() for line in lines)
    assert "docker.io/library/new:1" in "".join(line.split(" ")[0] for line in lines)
    assert "[bold]" in "".join(line.split(" ")[0] for line in lines)


def test_what_is_printable() -> None:
    assert tables.printable("a\x1b[2J\nb\r") == "a [2J\nb "
