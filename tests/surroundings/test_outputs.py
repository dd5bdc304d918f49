# SPDX-License-Identifier: Apache-2.0
"""What a step leaves behind cannot lead its reader out of what the step was given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwl_udss.sandbox import Bind
from cwl_udss.surroundings.outputs import View, confine, restore_access

SEEN = "/var/spool/cwl"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    (tmp_path / "outputs/sub").mkdir(parents=True)
    (tmp_path / "outputs/sub/file").write_text("made by the step")
    (tmp_path / "inputs/directory").mkdir(parents=True)
    (tmp_path / "inputs/directory/file").write_text("an input")
    (tmp_path / "secret").write_text("the caller's")
    return tmp_path / "outputs"


@pytest.fixture
def view(outputs: Path) -> View:
    return View(
        (
            Bind(source=str(outputs), destination=SEEN, writable=True),
            Bind(source=f"{outputs.parent}/inputs/directory", destination="/var/lib/cwl/in"),
            Bind(source=f"{outputs.parent}/inputs/directory/file", destination=f"{SEEN}/staged"),
        )
    )


@pytest.mark.parametrize(
    ("name", "target", "content"),
    [
        ("link", "sub/file", "made by the step"),
        ("link", f"{SEEN}/sub/file", "made by the step"),
        ("sub/link", "../sub/file", "made by the step"),
        ("sub/link", f"{SEEN}/sub/../sub/file", "made by the step"),
        ("link", "/var/lib/cwl/in/file", "an input"),
        ("sub/link", "../../../lib/cwl/in/file", "an input"),
        ("link", "staged", "an input"),
    ],
)
def test_links_say_on_the_host_what_they_said_to_the_step(
    outputs: Path, view: View, name: str, target: str, content: str
) -> None:
    (outputs / "staged").touch()  # the mount point
    (outputs / name).symlink_to(target)
    assert confine(str(outputs), SEEN, view) == []
    assert (outputs / name).read_text() == content


def test_links_within_stay_when_the_directory_moves(outputs: Path, view: View) -> None:
    (outputs / "link").symlink_to(f"{SEEN}/sub/file")
    confine(str(outputs), SEEN, view)
    moved = outputs.rename(outputs.with_name("moved"))
    assert (moved / "link").read_text() == "made by the step"


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../../secret",
        "/",
        "/tmp/x",
        "/var/lib/cwl/other",
        "../loop",
        "{secret}",
        "{here}",
    ],
)
def test_links_that_lead_elsewhere_are_removed(outputs: Path, view: View, target: str) -> None:
    (outputs / "loop").symlink_to("loop")
    (outputs / "sub/link").symlink_to(
        target.format(secret=outputs.parent / "secret", here=outputs / "sub/file")
    )
    removed = confine(str(outputs), SEEN, view)
    assert f"{SEEN}/sub/link: a link out of the output directory" in removed
    assert not (outputs / "sub/link").is_symlink()


def test_a_chain_of_links_is_resolved_before_any_is_changed(outputs: Path, view: View) -> None:
    for name, target in (("a", "/var/lib/cwl/in/file"), ("b", f"{SEEN}/a"), ("c", "b")):
        (outputs / name).symlink_to(target)
    assert confine(str(outputs), SEEN, view) == []
    assert {(outputs / name).read_text() for name in "abc"} == {"an input"}


@pytest.mark.parametrize("target", ["nowhere", "sub/file/x", "pipe", f"{SEEN}/nowhere", "dangling"])
def test_links_that_lead_nowhere_are_removed(outputs: Path, view: View, target: str) -> None:
    os.mkfifo(outputs / "pipe")
    (outputs / "dangling").symlink_to("sub/nowhere")
    (outputs / "link").symlink_to(target)
    removed = confine(str(outputs), SEEN, view)
    assert f"{SEEN}/link: a link that leads nowhere" in removed
    assert os.listdir(outputs) == ["sub"]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("file", "file"),
        ("../sub/file", "file"),
        ("../../cwl/sub/file", "file"),
        (f"{SEEN}/sub/file", "file"),
        ("inner/../file", "file"),
        ("alias", "alias"),
        ("../sub/alias", "alias"),
        (".", "."),
        ("../other", "../other"),
    ],
)
def test_links_within_say_so_without_going_round(
    outputs: Path, view: View, target: str, text: str
) -> None:
    """So that a part of the output directory may get another name."""
    for name in ("sub/inner", "other"):
        (outputs / name).mkdir()
    (outputs / "sub/alias").symlink_to("file")
    (outputs / "sub/link").symlink_to(target)
    assert confine(str(outputs), SEEN, view) == []
    assert os.readlink(outputs / "sub/link") == text


def test_a_linked_directory_is_a_way_too(outputs: Path, view: View) -> None:
    (outputs / "elsewhere").symlink_to("/")
    (outputs / "link").symlink_to("elsewhere/etc/passwd")
    assert len(confine(str(outputs), SEEN, view)) == 2
    assert sorted(os.listdir(outputs)) == ["sub"]


def test_pipes_are_removed(outputs: Path, view: View) -> None:
    os.mkfifo(outputs / "sub/pipe")
    assert confine(str(outputs), SEEN, view) == [f"{SEEN}/sub/pipe: neither a file nor a directory"]
    assert not (outputs / "sub/pipe").exists()


def test_what_the_owner_may_not_read_becomes_readable(outputs: Path) -> None:
    (outputs / "sub/file").chmod(0)
    (outputs / "sub").chmod(0)
    outputs.chmod(0)
    restore_access(str(outputs))
    assert (outputs / "sub/file").stat().st_mode & 0o777 == 0o400
    assert (outputs / "sub").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("outputs", True),
        ("outputs/sub/none", True),
        ("outputs/../secret", False),
        ("outputs/*/../../secret", False),
        ("inputs/directory/file", True),
        ("inputs", False),
        ("outputs-2", False),
    ],
)
def test_what_the_view_contains(outputs: Path, view: View, path: str, inside: bool) -> None:
    assert view.contains(f"{outputs.parent}/{path}") is inside
