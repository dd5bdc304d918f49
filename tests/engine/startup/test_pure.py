# SPDX-License-Identifier: Apache-2.0
"""A compiled package is imported from its Python files."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from cwl_udss.engine.startup.pure import python_file
from cwl_udss.errors import UdssError

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def make_package(path: Path, *, with_sources: bool) -> None:
    """A package with a module that is compiled, as far as the import system can tell."""
    (path / "compiled").mkdir()
    (path / "compiled/__init__.py").write_text("")
    (path / f"compiled/job{SUFFIX}").write_bytes(b"no library")
    if with_sources:
        (path / "compiled/job.py").write_text("class Job: pass\n")


SCRIPT = """
from cwl_udss.errors import UdssError
from cwl_udss.engine.startup.pure import prefer_python_modules
prefer_python_modules("compiled")
try:
    import compiled.job
    print(compiled.job.__file__.rpartition("/")[2])
except UdssError as error:
    print(error)
"""


@pytest.mark.parametrize("with_sources", [True, False])
def test_the_python_file_is_preferred_or_missed(tmp_path: Path, with_sources: bool) -> None:
    make_package(tmp_path, with_sources=with_sources)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if with_sources:
        assert done.stdout == "job.py\n"
    else:
        assert "job.py is not beside it" in done.stdout
        assert "pip install" in done.stdout


def test_python_file_of_a_compiled_module(tmp_path: Path) -> None:
    make_package(tmp_path, with_sources=True)
    compiled = tmp_path / f"compiled/job{SUFFIX}"
    assert python_file(str(compiled)) == tmp_path / "compiled/job.py"
    with pytest.raises(UdssError):
        python_file(str(tmp_path / f"compiled/other{SUFFIX}"))
