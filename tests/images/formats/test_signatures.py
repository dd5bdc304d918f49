# SPDX-License-Identifier: Apache-2.0
"""What is said of signatures in SIF files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from foreign.sifs import signed_sif
from foreign.workshop import Workshop
from sif_files import Object, partition, sif

from cwl_udss.images.formats.sif.layout import ObjectKind
from cwl_udss.images.formats.sif.reader import read_sif
from cwl_udss.images.formats.sif.signatures import signatures

FINGERPRINT = bytes(range(20))


def signature(content: bytes, fingerprint: bytes = b"") -> Object:
    extra = struct.pack("<i256s", 1, fingerprint)
    return Object(kind=ObjectKind.SIGNATURE, content=content, extra=extra)


@pytest.mark.parametrize(
    ("made", "signer"),
    [
        (signature(b"-----BEGIN PGP", FINGERPRINT), FINGERPRINT.hex().upper()),
        (signature(json.dumps({"signatures": [{"keyid": "SHA256:a"}]}).encode()), "SHA256:a"),
        (signature(b'{"signatures": [{"sig": "x"}]}'), "an unknown key"),
        (signature(b'{"signatures": 5}'), "an unknown key"),
        (signature(b"[" * 100_000), "an unknown key"),
        (signature(b"\xff"), "an unknown key"),
    ],
)
def test_who_has_signed(tmp_path: Path, made: Object, signer: str) -> None:
    (tmp_path / "image.sif").write_bytes(sif(partition(b"hsqs"), made))
    found = signatures(read_sif(tmp_path / "image.sif", "image.sif"))
    assert found == [f"part 0 signed by {signer}, not checked"]


def test_nothing_is_signed(tmp_path: Path) -> None:
    (tmp_path / "image.sif").write_bytes(sif(partition(b"hsqs")))
    assert signatures(read_sif(tmp_path / "image.sif", "image.sif")) == []


def test_what_apptainer_has_signed(workshop: Workshop) -> None:
    path = signed_sif(workshop)
    (found,) = signatures(read_sif(path, "signed.sif"))
    (number,) = [
        each.identifier
        for each in read_sif(path, "signed.sif").objects
        if each.kind == ObjectKind.SIGNATURE
    ]
    told = workshop.sid.run("apptainer", "sif", "info", str(number), path).stdout
    key = found.removeprefix("group 1 signed by ").removesuffix(", not checked")
    assert len(bytes.fromhex(key)) == 20
    assert key in told.upper()
