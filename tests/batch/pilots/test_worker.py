# SPDX-License-Identifier: Apache-2.0
"""What the environment of a pilot's workers and of their steps is."""

from __future__ import annotations

import pytest

from cwl_udss.batch.pilots.worker import pool_environment, step_environment


@pytest.mark.parametrize("length", [1, 75, 76, 500])
def test_steps_have_the_temporary_directory_of_their_node(length: int) -> None:
    environment = {"TMPDIR": f"/{'t' * (length - 1)}", "HOME": "/home/somebody"}
    pool = pool_environment(environment)
    assert step_environment(pool) == environment
    assert len(f"{pool['TMPDIR']}/pymp-12345678/listener-12345678") <= 107


def test_no_temporary_directory() -> None:
    assert step_environment(pool_environment({})) == {}
