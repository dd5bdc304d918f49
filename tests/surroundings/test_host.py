# SPDX-License-Identifier: Apache-2.0
"""What a tool of this machine may read of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_udss.surroundings.host import host_directories


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("home/bin", "home/.local/bin", "home/.local/share", "home/miniconda3/bin"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("software/samtools/bin", "software/lib", "modules"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path / "home"


def own(home: Path, *further: Path, **environment: str) -> set[str]:
    """What is not the system's, below the directory of the test."""
    top = str(home.parent)
    found = host_directories(environment, home, further)
    return {path.removeprefix(f"{top}/") for path in found if path.startswith(top)}


def test_the_system_is_read_and_not_the_home_directory(home: Path) -> None:
    found = host_directories({}, home, ())
    assert {"/usr", "/etc"} < set(found)
    assert not {"/", "/home", "/tmp", "/proc", "/dev", "/root"} & set(found)
    assert own(home) == set()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("{top}/software/samtools/bin", {"software/samtools/bin", "software/samtools"}),
        ("{top}/home/miniconda3/bin", {"home/miniconda3/bin", "home/miniconda3"}),
        ("{top}/home/bin", {"home/bin"}),
        ("{top}/home/.local/bin", {"home/.local/bin"}),
        ("{top}/modules", {"modules"}),
        ("{top}/home:{top}:.::bin:/:../x", set()),
        ("{top}/nowhere/bin", set()),
    ],
)
def test_what_is_on_path_with_what_was_installed_with_it(
    home: Path, path: str, expected: set[str]
) -> None:
    assert own(home, PATH=path.format(top=home.parent)) == expected


def test_places_of_modules_and_libraries(home: Path) -> None:
    top = home.parent
    given = {"MODULEPATH": f"{top}/modules:{top}/none", "LD_LIBRARY_PATH": f"{top}/software/lib:"}
    assert own(home, **given) == {"modules", "software/lib"}
    assert own(home, LD_LIBRARY_PATH=str(home)) == set()


def test_what_somebody_names_may_be_anything(home: Path) -> None:
    assert own(home, home) == {"home"}


def test_links_with_what_they_lead_to(home: Path) -> None:
    top = home.parent
    (top / "apps").symlink_to("software")
    assert own(home, top / "apps") == {"apps", "software"}
