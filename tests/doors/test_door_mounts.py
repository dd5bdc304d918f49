# SPDX-License-Identifier: Apache-2.0
"""What callers have mounted, before any sandbox is made of it."""

from __future__ import annotations

from pathlib import Path

from cwl_udss.doors.mounts import along_links
from cwl_udss.sandbox import Bind


def bound(source: Path | str, destination: Path | str) -> Bind:
    return Bind(source=str(source), destination=str(destination), writable=True)


def test_links_are_followed_in_directories_that_are_shown_at_their_own_paths(
    tmp_path: Path,
) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "link").symlink_to("large")
    below = bound("/work", tmp_path / "link" / "work")
    moved = bound("/work", tmp_path / "large" / "work")
    shown = bound(tmp_path, tmp_path)
    assert along_links([shown, below]) == (shown, moved)
    assert along_links([below], [shown]) == (moved,)


def test_other_places_are_those_of_the_container(tmp_path: Path) -> None:
    """What this machine has of that name has nothing to do with them."""
    (tmp_path / "link").symlink_to("large")
    alone = bound("/work", tmp_path / "link" / "work")
    elsewhere = bound("/elsewhere", tmp_path)
    itself = bound(tmp_path / "link", tmp_path / "link")
    assert along_links([alone, elsewhere]) == (alone, elsewhere)
    assert along_links([itself]) == (itself,)
