# SPDX-License-Identifier: Apache-2.0
"""The scripts of jobs, run by a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cwl_udss.batch.run_directory import Entry, job_script, script

ODD_NAMES = ["a b", "it's", 'q"q', "$HOME;x", "100%d", "ü{x}", "a\ntouch made; exit 3\n#", "\\t*?"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    content = script(
        ["printf", "%s|", name, "$X"],
        log=directory / "log",
        environment={"PATH": "/usr/bin:/bin", "PYTHONPATH": name},
        umask=0o027,
        remark=f"As in {name}",
    )
    (tmp_path / "script").write_text(content)
    done = subprocess.run(["sh", tmp_path / "script"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (directory / "log").read_text() == f"{name}|$X|"
    assert {path.name for path in tmp_path.iterdir()} == {name, "script"}
    assert [path.name for path in directory.iterdir()] == ["log"]


def test_what_is_typed_by_hand_is_a_remark(tmp_path: Path) -> None:
    """Also in a directory with line breaks in its name."""
    entry = Entry(path=tmp_path / "a\nb")
    lines = job_script([entry], {}, 0o022).splitlines()
    assert lines[:3] == ["#!/bin/sh", f"# By hand: cwl-udss step '{tmp_path}/a", "# b'"]
