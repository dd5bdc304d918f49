# SPDX-License-Identifier: Apache-2.0
"""Which Node.js evaluates expressions."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import need

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.bubblewrap.probe import bundled_bubblewrap
from cwl_udss.surroundings import javascript


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def test_one_that_does_not_run_is_named_with_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        need("needs the Debian package busybox-static")
    shutil.copy(busybox, tmp_path / "node")
    monkeypatch.setattr(javascript, "_wheel_program", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = rf"none runs here of {tmp_path}/node \(node: applet not found\): install one"
    with pytest.raises(SandboxError, match=words):
        javascript.SandboxedNode(bundled_bubblewrap, temporary).examine()
