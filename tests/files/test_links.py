# SPDX-License-Identifier: Apache-2.0
"""Links that lead out of a directory are found, whatever a step has made of them, and in time."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from cwl_udss.files.links import copy_directory, links_out, make_whole
from cwl_udss.sandbox import Bind
from cwl_udss.steps.made import MadeDirectories

SEEN = "/var/lib/cwl/stg0/d"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("d/sub", "o/deep", "p"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("d/own", "o/x", "o/deep/y", "p/z"):
        (tmp_path / name).write_text(name)
    return tmp_path


def link(top: Path, **links: str) -> None:
    """Make links in the directory `d`; a name is a path with `__` for the slash."""
    for name, target in links.items():
        (top / name.replace("__", "/")).symlink_to(target.format(top=top))


def found(top: Path, directory: str = "d") -> dict[str, str | None]:
    links = links_out(str(top / directory), lambda _link, _target: True)
    return {name: target and os.path.relpath(target, top) for name, target in links}


def test_links_that_stay_are_none(top: Path) -> None:
    link(top, d__a="own", d__b="{top}/d/own", d__sub__up="..", d__X11=".", d__round="../d/sub")
    assert found(top) == {}


def test_links_that_lead_out_are_found_with_those_of_what_they_lead_to(top: Path) -> None:
    link(top, d__x="../o/x", d__sub__o="{top}/o", o__p="../p", o__deep__x="../x", d__gone="none")
    assert found(top) == {"x": "o/x", "sub/o": "o", "sub/o/p": "p", "gone": None}


def test_links_round_in_a_circle_end(top: Path) -> None:
    link(top, d__o="../o", o__d="../d", o__p="../p", p__o="../o", d__self="self", d__up="..")
    names = found(top)
    assert {"o": "o", "o/p": "p", "up": "."}.items() <= names.items()
    assert {name for name, target in names.items() if target is None} == {
        *("o/d", "o/p/o", "self", "up/d/self"),
    }


def test_links_that_multiply_end(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / str(number)).mkdir()
        for name in "ab":
            (tmp_path / str(number) / name).symlink_to(f"../{number + 1}")
    (tmp_path / "40").mkdir()
    assert 10_000 < len(found(tmp_path, "0")) < 30_000


@pytest.mark.parametrize("in_place", [True, False])
def test_a_directory_is_made_whole(
    top: Path, caplog: pytest.LogCaptureFixture, in_place: bool
) -> None:
    link(top, d__x="../o/x", d__sub__o="../../o", o__p="../p", o__y="{top}/o/deep/y")
    link(top, d__gone="none", d__up="..", d__round="../d/own", d__whole="{top}/d/own", d__X11=".")
    with caplog.at_level(logging.WARNING):
        if in_place:
            make_whole(str(top / "d"), str(top / "d"))
            (top / "d").rename(top / "copy")
        else:
            copy_directory(str(top / "d"), str(top / "copy"))
            assert os.readlink(top / "d/x") == "../o/x"
    for name in "op":
        (top / name).rename(top / f"{name}.gone")
    copy = top / "copy"
    texts = {name: (copy / name).read_text() for name in ("x", "sub/o/x", "sub/o/p/z", "sub/o/y")}
    assert texts == {"x": "o/x", "sub/o/x": "o/x", "sub/o/p/z": "p/z", "sub/o/y": "o/deep/y"}
    links = {name: os.readlink(copy / name) for name in ("round", "whole", "X11", "sub/o/y")}
    assert links == {"round": "own", "whole": "own", "X11": ".", "sub/o/y": "deep/y"}
    assert sorted(os.listdir(copy)) == ["X11", "own", "round", "sub", "whole", "x"]
    left_out = sorted(record.getMessage().partition(":")[0] for record in caplog.records)
    assert left_out == [f"left out {top}/d/{name}" for name in ("gone", "up")]


def binds(made: MadeDirectories, directory: Path) -> list[Bind]:
    return list(made.binds(str(directory), SEEN))


def test_what_links_of_a_made_directory_lead_to_is_shown_in_their_place(top: Path) -> None:
    link(top, d__x="../o/x", d__sub__x="../../o/x", d__gone="none")
    made = MadeDirectories()
    assert binds(made, top / "d") == []  # nobody is known to have made it
    made.add(str(top))
    shown = {bind.destination: bind.source for bind in binds(made, top / "d")}
    assert shown == {
        "/var/lib/cwl/stg0/d/x": f"{top}/o/x",
        "/var/lib/cwl/stg0/d/sub/x": f"{top}/o/x",
    }
    assert not any(bind.writable for bind in binds(made, top / "d"))


def test_links_that_a_step_makes_in_what_it_changes_are_removed(top: Path) -> None:
    link(top, d__x="../o/x", d__sub__x="../../o/x", d__o="../o", o__p="../p")
    made = MadeDirectories()
    made.add(str(top))
    before = binds(made, top / "d")
    made.remember(str(top / "d"))
    (top / "d/sub/x").unlink()
    link(top, d__sub__x="/etc/passwd", d__new="/etc/hosts", d__own2="own")
    assert sorted(line.partition(":")[0] for line in made.check(str(top / "d"), SEEN)) == [
        f"{top}/d/new",
        f"{top}/d/sub/x",
    ]
    changed = [bind for bind in before if not bind.destination.endswith("sub/x")]
    assert binds(made, top / "d") == changed
    assert made.check(str(top / "d/own"), f"{SEEN}/own") == []


def test_a_persons_own_directory_is_not_trusted_nor_changed(top: Path, tmp_path: Path) -> None:
    link(top, d__x="../o/x")
    made = MadeDirectories()
    assert made.check(str(top / "d"), SEEN) == []
    made.add(str(top))
    assert binds(made, top / "d") == []
    assert (top / "d/x").is_symlink()


def test_links_of_what_was_only_given_are_not_followed(top: Path, tmp_path: Path) -> None:
    link(top, d__o="../o", o__secret="/etc/passwd")
    made = MadeDirectories()
    made.add(str(top / "d"))
    assert [bind.destination for bind in binds(made, top / "d")] == ["/var/lib/cwl/stg0/d/o"]
