# SPDX-License-Identifier: Apache-2.0
"""What Apptainer makes is what the tests that use it take it for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign import sifs
from foreign.sid import Sid
from foreign.workshop import CONFIG, Workshop


def objects(sid: Sid, sif: Path) -> list[str]:
    """The kinds of objects in a SIF, in order."""
    lines = sid.run("siftool", "list", sif).stdout.splitlines()[3:]
    return [line.split("|")[-1].strip() for line in lines]


def generic(sid: Sid, sif: Path) -> dict[str, str]:
    """The names of the generic JSON objects of a SIF, and what they hold."""
    kinds = enumerate(objects(sid, sif), 1)
    numbers = [str(number) for number, kind in kinds if kind == "JSON.Generic"]
    facts = [sid.run("siftool", "info", number, sif).stdout for number in numbers]
    names = [text.partition("Name:")[2].split()[0] for text in facts]
    return {
        name: sid.run("siftool", "dump", number, sif).stdout
        for name, number in zip(names, numbers, strict=True)
    }


def partition_at(sid: Sid, sif: Path) -> str:
    number = next(n for n, kind in enumerate(objects(sid, sif), 1) if kind.startswith("FS"))
    return sid.run("siftool", "info", str(number), sif).stdout.partition("Offset:")[2].split()[0]


@pytest.mark.parametrize("image", ["busybox", "debian"])
def test_a_sif_has_the_configuration_of_its_image(workshop: Workshop, image: str) -> None:
    sif = sifs.sif_of_archive(workshop, image, "lz4")
    found = generic(workshop.sid, sif)
    assert list(found) == ["inspect-metadata.json", "oci-config.json"]
    assert json.loads(found["oci-config.json"]) == CONFIG


def test_apptainer_runs_a_sif_by_its_entrypoint(workshop: Workshop) -> None:
    ran = workshop.sid.run("apptainer", "run", sifs.sif_of_archive(workshop))
    assert ran.stdout == "the entry point two words last\n"


@pytest.mark.parametrize("compression", sifs.COMPRESSIONS)
def test_the_partition_is_packed_as_asked(workshop: Workshop, compression: str) -> None:
    sif = sifs.sif_of_archive(workshop, compression=compression)
    offset = partition_at(workshop.sid, sif)
    said = workshop.sid.run("unsquashfs", "-offset", offset, "-stat", sif).stdout
    assert f"Compression {compression}\n" in said


@pytest.mark.parametrize("make", [sifs.sif_of_definition, sifs.sif_of_sif])
def test_a_definition_leaves_the_configuration_of_what_it_starts_from(
    workshop: Workshop, make: Callable[[Workshop], Path]
) -> None:
    """So that it says less than the image's own scripts do."""
    sif = make(workshop)
    assert json.loads(generic(workshop.sid, sif)["oci-config.json"]) == CONFIG
    ran = workshop.sid.run("apptainer", "run", sif, "an argument")
    assert ran.stdout == "runs with /opt/base/data: an argument\n"


def test_a_definition_that_starts_from_a_directory_leaves_none(workshop: Workshop) -> None:
    sif = sifs.sif_of_directory(workshop)
    assert list(generic(workshop.sid, sif)) == ["inspect-metadata.json"]
    shown = workshop.sid.run("apptainer", "exec", sif, "env").stdout.splitlines()
    assert {"BASE=/opt/base", "DATA=/opt/base/data", "EARLIER=as the image has it"} <= {*shown}
    assert "GREETING=hello world" in shown  # of the image that the directory was made of


def test_a_sandbox_directory_runs(workshop: Workshop) -> None:
    box = sifs.sandbox_directory(workshop)
    assert (box / ".singularity.d/runscript").is_file()
    assert workshop.sid.run("apptainer", "run", box, "x").stdout == "the entry point x\n"


def test_an_overlay_is_a_second_partition(workshop: Workshop) -> None:
    sif = sifs.sif_with_overlay(workshop)
    assert objects(workshop.sid, sif)[-1].startswith("FS (Ext3/Overlay/")
    assert workshop.sid.run("apptainer", "exec", sif, "cat", "/added").stdout == "by hand\n"


def test_an_overlay_image_is_ext3(workshop: Workshop) -> None:
    said = workshop.sid.run("dumpe2fs", "-h", sifs.overlay_image(workshop)).stdout
    assert "has_journal" in said
    assert "extent" not in said


def test_a_signed_sif_has_a_signature(workshop: Workshop) -> None:
    sif = sifs.signed_sif(workshop)
    assert objects(workshop.sid, sif)[-1] == "Signature (SHA-256)"
    ran = workshop.sid.run("apptainer", "exec", sif, "echo", "runs")
    assert ran.stdout == "runs\n"


def test_an_encrypted_sif_opens_by_its_passphrase_only(workshop: Workshop) -> None:
    sif = sifs.encrypted_sif(workshop)
    offset = partition_at(workshop.sid, sif)
    inside = workshop.sid.run("unsquashfs", "-offset", offset, "-ls", sif).stdout
    assert "gocryptfs.conf" in inside
    assert "busybox" not in inside
    command = ["apptainer", "exec", sif, "echo", "opened"]
    assert workshop.sid.run(*command, env=sifs.ENCRYPTION).stdout == "opened\n"
    refused = workshop.sid.run(*command, check=False)
    assert refused.returncode
    assert "passphrase" in refused.stderr


def test_a_sif_of_a_file_system_alone_runs(workshop: Workshop) -> None:
    sif = sifs.bare_sif(workshop)
    assert len(objects(workshop.sid, sif)) == 1
    assert workshop.sid.run("apptainer", "exec", sif, "echo", "runs").stdout == "runs\n"


def test_apptainer_refuses_a_sif_of_another_machine(workshop: Workshop) -> None:
    sif = sifs.bare_sif(workshop, sifs.OTHER_MACHINE)
    refused = workshop.sid.run("apptainer", "exec", sif, "echo", "runs", check=False)
    assert refused.returncode
    assert "architecture" in refused.stderr
