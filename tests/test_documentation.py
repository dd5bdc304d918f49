# SPDX-License-Identifier: Apache-2.0
"""The pages say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matrix
import pytest

from cwl_udss.images.libraries.naming import NAMINGS
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.settings.table import SETTINGS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_setting_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    assert rows == [setting.name for setting in SETTINGS]


def test_every_naming_is_documented_with_a_name_that_it_makes() -> None:
    page = (ROOT / "docs/libraries.md").read_text()
    [text] = re.findall(r"^\| naming \| made by \| `(.*)` \|", page, re.MULTILINE)
    rows = dict(re.findall(r"^\| `([\w.-]+)` \|.*\| `(.*)` \|$", page, re.MULTILINE))
    names = {name: naming.paths(text, this_platform()) for name, naming in NAMINGS.items()}
    assert rows == {name: paths[0] for name, paths in names.items() if paths}
    assert all(f"`{name}`" in page for name in NAMINGS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_are_named_exist(page: Path) -> None:
    options = {setting.option for setting in SETTINGS} | {"--udss-resume", "--udss-detach"}
    named = set(re.findall(r"--udss-[a-z-]+", page.read_text()))
    assert named <= options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_limits_of_runtimes_are_those_of_the_code() -> None:
    """`conformance/matrix.py --page` writes them."""
    page = (ROOT / "docs/sandbox.md").read_text()
    assert matrix.limits_table() in page
    assert page == matrix.with_limits(page)


def test_the_matrix_of_machines_is_what_was_found() -> None:
    """`conformance/matrix.py --page` writes it."""
    assert matrix.PAGE.read_text() == matrix.page(json.loads(matrix.RESULTS.read_text()))
