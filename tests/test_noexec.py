# SPDX-License-Identifier: Apache-2.0
"""Stores and scratch directories on filesystems on which no program may be executed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import COMMANDS, Command
from needs import need

IMAGE = "docker.io/library/busybox:1.36"
HELLO = f"cwl-udss run {IMAGE} echo hello"
Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(environment: dict[str, str], tmp_path: Path) -> Script:
    """Run a script that sees the directory ./noexec mounted so, and ./scratch not."""
    for name in ("noexec", "scratch"):
        (tmp_path / name).mkdir()

    def run(text: str, **variables: str) -> subprocess.CompletedProcess[str]:
        mount = 'mount -t tmpfs -o noexec,nosuid,nodev none "$PWD/noexec"'
        return subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", f"{mount}\n{text}"],
            env={
                **environment,
                "CWL_UDSS_STORE": str(tmp_path / "noexec/store"),
                "CWL_UDSS_SCRATCH": str(tmp_path / "scratch"),
                "CWL_UDSS_FORMAT": "directory",
                **variables,
            },
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_images_are_copied_to_where_their_programs_run(script: Script, tmp_path: Path) -> None:
    done = script(f"{HELLO}; {HELLO}; find scratch -name root")
    assert done.returncode == 0, done.stderr
    *lines, copy = done.stdout.splitlines()
    assert lines == ["hello", "hello"]
    assert copy.startswith("scratch/cwl-udss-")
    log = [line for line in done.stderr.splitlines() if line.startswith("copying ")]
    assert len(log) == 1  # the second run finds it
    assert log[0].startswith(f"copying {tmp_path}/noexec/store/images/")
    assert log[0].endswith("programs cannot be executed in the store (mounted noexec)")


def test_what_was_mounted_otherwise_when_the_image_was_made(script: Script) -> None:
    text = 'mount -o remount,bind,exec,nosuid,nodev "$PWD/noexec"\n'
    text += f'{HELLO}\nmount -o remount,bind,noexec,nosuid,nodev "$PWD/noexec"\n{HELLO}'
    done = script(text)
    assert (done.returncode, done.stdout) == (0, "hello\nhello\n"), done.stderr
    assert done.stderr.count("copying ") == 1


def test_a_library_may_be_there(script: Script) -> None:
    done = script(
        f"cwl-udss images pull {IMAGE}\n"
        'export CWL_UDSS_LIBRARY="$CWL_UDSS_STORE" CWL_UDSS_STORE="$PWD/own"\n'
        f"{HELLO}; ls own/images 2>&1 || true"
    )
    assert "hello\n" in done.stdout, done.stderr
    assert "No such file" in done.stdout  # nothing came to the store itself
    assert "copying " in done.stderr


def test_a_file_is_mounted_or_unpacked_to_another_place(script: Script) -> None:
    done = script(f"{HELLO}\nPATH={COMMANDS}\n{HELLO}", CWL_UDSS_FORMAT="squashfs")
    assert (done.returncode, done.stdout) == (0, "hello\nhello\n"), done.stderr
    assert done.stderr.count("unpacking ") >= 1
    assert "copying " not in done.stderr


NOWHERE = """
for place in /tmp /dev/shm; do
    mount --bind $place $place
    mount -o remount,bind,noexec,nosuid,nodev $place
    # What the machine's root has there is not of the root of this namespace.
    [ ! -d $place/cwl-udss-0 ] || mount -t tmpfs -o noexec,mode=0700 none $place/cwl-udss-0
done
unset CWL_UDSS_SCRATCH TMPDIR PBS_JOBFS SLURM_TMPDIR
"""


@pytest.mark.parametrize("format", ["directory", "squashfs"])
@pytest.mark.parametrize("where", ["named", "found"])
def test_no_place_for_programs(script: Script, tmp_path: Path, format: str, where: str) -> None:
    done = script(
        f"{NOWHERE if where == 'found' else ''}PATH={COMMANDS}\n"
        f"{HELLO} || echo $?; cwl-udss doctor || true",
        CWL_UDSS_SCRATCH=str(tmp_path / "noexec"),
        CWL_UDSS_FORMAT=format,
    )
    sentence = (
        f"the scratch directory {tmp_path}/noexec cannot be used: it is mounted noexec, so that no "
        "program there can be executed: name another with --udss-scratch"
        if where == "named"
        else "programs cannot be executed in /tmp or /dev/shm (mounted noexec), where images are "
        "to be unpacked: name another directory of this node with --udss-scratch"
    )
    assert done.stderr.splitlines()[-1] == f"cwl-udss: {sentence}"
    assert done.stdout.startswith("1\n")
    failures = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert any(sentence in line for line in failures)


def test_doctor_says_so(script: Script, tmp_path: Path) -> None:
    done = script("cwl-udss doctor")
    assert done.returncode == 0
    note = (
        f"they cannot be executed in {tmp_path}/noexec/store (mounted noexec): images are copied "
        f"to {tmp_path}/scratch/cwl-udss-0 on each node: keep images elsewhere"
    )
    assert note in done.stdout
    assert "programs of images" not in script("cwl-udss doctor", CWL_UDSS_FORMAT="squashfs").stdout


def test_a_root_filesystem_of_ones_own_is_not_copied(
    script: Script, busybox_root: Path, tmp_path: Path
) -> None:
    done = script(f"cp -r {busybox_root} noexec/root; cwl-udss run ./noexec/root echo hello")
    assert done.returncode == 1
    assert done.stderr == (
        f"cwl-udss: programs in {tmp_path}/noexec/root cannot be executed: its filesystem is "
        "mounted noexec: copy it to another one, or make a tar of it and name that\n"
    )


SCRIPT = """cat /l*y; test -e "$(printf '/l\\351vy')" && echo there"""


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_an_image_is_unpacked_without_any_program(
    run_command: Command, tmp_path: Path, compression: str
) -> None:
    """On a node with neither squashfuse_ll nor unsquashfs."""
    root = tmp_path / "root"
    root.mkdir()
    Path(os.fsdecode(os.fsencode(root) + b"/l\xe9vy")).write_text("Latin-1: ")
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add(root, ".")
    busybox = shutil.which("busybox")
    if busybox is None:
        need("needs the Debian package busybox-static")
    with tarfile.open(tmp_path / "root.tar", "a") as archive:
        archive.add(busybox, "bin/busybox")
    (tmp_path / "scratch").mkdir()
    done = run_command(
        *("cwl-udss", "run", "./root.tar", "/bin/busybox", "sh", "-c", SCRIPT),
        PATH=str(COMMANDS),
        CWL_UDSS_STORE=str(tmp_path / "store"),
        CWL_UDSS_SCRATCH=str(tmp_path / "scratch"),
        CWL_UDSS_FORMAT="squashfs",
        CWL_UDSS_COMPRESSION=compression,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Latin-1: there\n"
