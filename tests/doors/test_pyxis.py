# SPDX-License-Identifier: Apache-2.0
"""What pyxis' plugin calls for an image."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cwl_udss.doors.pyxis import reference_of
from cwl_udss.doors.shims import install
from cwl_udss.errors import UdssError
from cwl_udss.images.formats.squashfs.lookup import read_file

Importer = Callable[..., "subprocess.CompletedProcess[str]"]
BUSYBOX = "docker://docker.io#library/busybox:1.36"


@pytest.fixture
def importer(environment: dict[str, str], tmp_path: Path) -> Importer:
    [script] = install(tmp_path / "door", ["pyxis-importer"])

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script, *arguments],
            env={**environment, "CWL_UDSS_STORE": str(tmp_path / "store"), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_a_path_and_nothing_else_is_on_the_standard_output(importer: Importer) -> None:
    done = importer("get", BUSYBOX)
    [line] = done.stdout.splitlines()
    path = Path(line)
    assert (done.returncode, path.is_absolute()) == (0, True), done.stderr
    assert b"busybox" in (read_file(path, "bin/busybox") or b"")
    assert b"PATH=" in (read_file(path, "etc/environment") or b""), "what enroot reads"
    for _ in range(2):  # pyxis calls it twice
        done = importer("release")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.exists()


def test_the_second_job_gets_the_same_file(importer: Importer) -> None:
    path = Path(importer("get", BUSYBOX).stdout.strip())
    made = path.stat().st_mtime_ns
    done = importer("get", BUSYBOX, CWL_UDSS_OFFLINE="1")
    assert (done.stdout.strip(), path.stat().st_mtime_ns) == (str(path), made)


def test_what_fails_says_why_on_the_standard_error(importer: Importer) -> None:
    for arguments in (
        ("get", "dockerd://x"),
        ("get",),
        ("put",),
        ("get", "docker://no/such:image"),
    ):
        done = importer(*arguments, CWL_UDSS_OFFLINE="1")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("cwl-udss: ")


@pytest.mark.parametrize(
    ("uri", "reference"),
    [
        ("docker://ubuntu:24.04", "ubuntu:24.04"),
        ("docker://nvcr.io#nvidia/pytorch:24.01-py3", "nvcr.io/nvidia/pytorch:24.01-py3"),
        ("docker://nvcr.io/nvidia/pytorch", "nvcr.io/nvidia/pytorch"),
        ("docker://user@r.org:5000#a/b", "r.org:5000/a/b"),
        ("docker://$oauthtoken@nvcr.io#a/b:1", "nvcr.io/a/b:1"),
        (f"docker://a/b@sha256:{'0' * 64}", f"a/b@sha256:{'0' * 64}"),
    ],
)
def test_how_enroot_writes_names(uri: str, reference: str) -> None:
    assert reference_of(uri) == reference


def test_what_is_at_no_registry() -> None:
    with pytest.raises(UdssError, match="not at a registry"):
        reference_of("dockerd://ubuntu")
