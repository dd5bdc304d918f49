# SPDX-License-Identifier: Apache-2.0
"""Which directories of steps are whose."""

from __future__ import annotations

import pytest

from cwl_udss.engine.options import extended_parser
from cwl_udss.engine.places import Place, Places, choose_places, given_prefixes


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], set()),
        (["--tmpdir-prefix", "/tmp/"], {"tmpdir_prefix"}),  # which is the default
        (["--tmp-outdir-prefix="], {"tmp_outdir_prefix"}),  # so is this
        (["--tmpdir-p", "x", "--tmp-out", "y"], {"tmpdir_prefix", "tmp_outdir_prefix"}),
        (["--udss", "tool.cwl", "--tmpdir-prefix", "x"], set()),  # that is an input of the tool's
    ],
)
def test_what_is_given_is_known_from_what_is_the_default(
    arguments: list[str], given: set[str]
) -> None:
    assert given_prefixes(extended_parser(), arguments) == given


SAID, RUN, LEFT, CACHE = Place.SAID, Place.RUN, Place.LEFT, Place.CACHE


@pytest.mark.parametrize(
    ("given", "removes", "leaves_outputs", "has_cache", "tmpdir", "outdir"),
    [
        ("", True, False, False, RUN, RUN),
        ("tmpdir_prefix", True, False, False, SAID, SAID),
        ("tmp_outdir_prefix", True, False, False, RUN, SAID),
        ("tmpdir_prefix tmp_outdir_prefix", True, False, False, SAID, SAID),
        ("", False, False, False, LEFT, LEFT),
        ("", True, True, False, LEFT, LEFT),
        ("", False, True, False, LEFT, LEFT),
        ("tmp_outdir_prefix", False, True, False, LEFT, SAID),
        ("", True, False, True, RUN, CACHE),
        ("tmpdir_prefix", True, False, True, SAID, CACHE),
        ("", False, False, True, LEFT, SAID),
        ("", True, True, True, LEFT, SAID),
    ],
)
def test_places(
    given: str,
    removes: bool,
    leaves_outputs: bool,
    has_cache: bool,
    tmpdir: Place,
    outdir: Place,
) -> None:
    chosen = choose_places(
        given.split(), removes=removes, leaves_outputs=leaves_outputs, has_cache=has_cache
    )
    assert chosen == Places(tmpdir=tmpdir, outdir=outdir)
