# SPDX-License-Identifier: Apache-2.0
"""Sandboxes that stay, as StreamFlow uses them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from apptainer_door import BUSYBOX, Door
from foreign.sifs import sif_of_definition
from foreign.workshop import Workshop


@pytest.fixture
def name(apptainer: Door, tmp_path: Path) -> Iterator[str]:
    """A name for an instance, which does not outlive the test."""
    name = f"{tmp_path.name}.{os.getpid()}"
    yield name
    apptainer("instance", "stop", "--force", name)


def test_commands_one_after_the_other(apptainer: Door, name: str, tmp_path: Path) -> None:
    done = apptainer("instance", "start", "--pid-file", "pid", BUSYBOX, name)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    listed = apptainer("instance", "list", "--json", name)
    assert listed.stderr == "", "which StreamFlow reads as JSON, too"
    [instance] = json.loads(listed.stdout)["instances"]
    assert instance["instance"] == name
    assert instance["img"] == BUSYBOX
    assert instance["ip"] == ""
    assert (tmp_path / "pid").read_text().strip() == str(instance["pid"])
    run = ("exec", f"instance://{name}", "sh")
    shared = f"/dev/shm/cwl-udss-{os.getpid()}"  # of the machine, as Apptainer shows it
    done = apptainer(*run, "-c", f"echo there > {shared}; pwd; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{tmp_path}\n", "")
    script = f"cat {shared}; rm {shared}\necho $GIVEN\n"
    done = apptainer(*run, input=script, APPTAINERENV_GIVEN="x")
    assert (done.returncode, done.stdout) == (0, "there\nx\n")
    assert "FATAL:" in apptainer("exec", f"instance://{name}", "nope").stderr
    assert apptainer("instance", "start", BUSYBOX, name).returncode == 255
    assert apptainer("instance", "stop", name).returncode == 0
    assert json.loads(apptainer("instance", "list", "--json", name).stdout) == {"instances": []}


def test_the_environment_is_that_of_the_scripts(
    apptainer: Door, name: str, workshop: Workshop
) -> None:
    assert apptainer("instance", "start", sif_of_definition(workshop), name).returncode == 0
    words = ("sh", "-c", "echo $DATA $HOST")
    assert apptainer("exec", f"instance://{name}", *words, HOST="h").stdout == "/opt/base/data h\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("start", BUSYBOX, "a/b"), 255, "a/b is not a valid instance name"),
        (("start", "/nope.sif", "nope"), 255, "could not open image /nope.sif"),
        (("start", BUSYBOX), 1, "requires at least 2 arg(s)"),
        (("stop", "no-such-instance"), 1, "no instance found"),
        (("stop",), 1, "invalid command"),
    ],
)
def test_what_fails(arguments: tuple[str, ...], status: int, said: str, apptainer: Door) -> None:
    done = apptainer("instance", *arguments)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def test_an_instance_that_is_not_there(apptainer: Door) -> None:
    done = apptainer("exec", "instance://no-such-instance", "true")
    assert done.returncode == 255
    assert "no instance found with name no-such-instance" in done.stderr
