# SPDX-License-Identifier: Apache-2.0
"""What errors of doors advise can be done by who calls them."""

from __future__ import annotations

import pytest
from doors.callers import Door

from cwl_udss.doors.advice import as_variables


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x: name another with --udss-scratch", "x: name another with CWL_UDSS_SCRATCH"),
        ("y (--udss-library-trust digest)", "y (CWL_UDSS_LIBRARY_TRUST digest)"),
        (
            "if you accept that, type --udss-accept a-b",
            "if you accept that, set CWL_UDSS_ACCEPT=a-b",
        ),
        ("type --udss-accept a-b --udss-accept c", "set CWL_UDSS_ACCEPT=a-b,c"),
        ("see /x--udss", "see /x--udss"),
    ],
)
def test_options_of_cwltool_are_variables(text: str, shown: str) -> None:
    assert as_variables(text) == shown


def test_a_door_advises_what_it_has(podman: Door) -> None:
    done = podman("run", "busybox", "true", variables={"CWL_UDSS_STORE": "/proc/none"})
    assert done.returncode == 125
    assert "CWL_UDSS_STORE" in done.stderr
    assert "--udss" not in done.stderr
