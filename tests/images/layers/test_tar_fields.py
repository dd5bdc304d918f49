# SPDX-License-Identifier: Apache-2.0
"""Fields of tar headers."""

from __future__ import annotations

import pytest

from cwl_udss.images.layers.tar_fields import BLOCK, has_right_sum


def header(filling: int, sum_field: bytes | None = None) -> bytes:
    """One that is full of a byte, with its right checksum or another."""
    around = [bytes([filling]) * 148, bytes([filling]) * (BLOCK - 156)]
    total = sum(map(sum, around)) + 8 * ord(" ")
    return (b"%06o\0 " % total if sum_field is None else sum_field).join(around)


@pytest.mark.parametrize("filling", [0, 1, 127, 128, 254, 255])
def test_the_sum_of_whatever_bytes(filling: int) -> None:
    assert has_right_sum(header(filling))


@pytest.mark.parametrize("difference", [1, -1, 65520, 65521, -65521, 65536, -65536])
def test_a_sum_that_is_another(difference: int) -> None:
    total = 255 * (BLOCK - 8) + 8 * ord(" ")
    assert not has_right_sum(header(255, b"%06o\0 " % (total + difference)))
