# SPDX-License-Identifier: Apache-2.0
"""The examples do what their READMEs say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import Command

EXAMPLES = Path(__file__).parent.parent / "examples" / "workflows"


@pytest.fixture
def run_example(run_command: Command) -> Any:
    def run(name: str, *options: str) -> tuple[dict[str, Any], str]:
        directory = EXAMPLES / name
        done = run_command(
            "cwltool", "--udss", *options, directory / f"{name}.cwl", directory / "job.yml"
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    return run


def test_hello(run_example: Any) -> None:
    outputs, _ = run_example("hello")
    greeting = Path(outputs["greeting"]["path"]).read_text()
    assert greeting == "Hello, cluster, from Debian GNU/Linux 12 (bookworm)\n"


@pytest.mark.parametrize("options", [(), ("--parallel",)], ids=["serial", "parallel"])
def test_align(run_example: Any, options: tuple[str, ...]) -> None:
    outputs, log = run_example("align", *options)
    assert [file["basename"] for file in outputs["alignments"]] == ["mother.bam", "child.bam"]
    for alignment in outputs["alignments"]:
        path = Path(alignment["path"])
        assert path.read_bytes()[:4] == b"\x1f\x8b\x08\x04"  # BAM is in BGZF
        assert [file["basename"] for file in alignment["secondaryFiles"]] == [f"{path.name}.bai"]
    mapped = [
        line.split()[0]
        for file in outputs["statistics"]
        for line in Path(file["path"]).read_text().splitlines()
        if "primary mapped" in line
    ]
    # simulate.py says how many pairs do not belong there.
    assert mapped == ["1980", "1950"]
    # 1 index, and 4 steps for each of 2 samples, each in its image.
    assert log.count("cwl-udss \\\n    run \\\n    quay.io/biocontainers/") == 9
    assert "no sandbox" not in log


def test_expressions_need_no_node(run_example: Any) -> None:
    outputs, _ = run_example("expressions")
    assert outputs == {
        "lines": [
            "3 texts",
            "3 words: one small step",
            "10 words: to be or not to be that is the question",
            "1 words: hello",
        ],
        "message": "14 WORDS: IN ALL",
    }
