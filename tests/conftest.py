# SPDX-License-Identifier: Apache-2.0
"""What the tests of the commands share: a registry with images, a store, the commands."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import COMMANDS, Command
from needs import SCRATCH, need
from stand_ins import MissingPackage, cache_directory, mirrors, serve_registry, stand_in_registry

from cwl_udss.staging import remove_tree

pytest_plugins = ["foreign.fixtures"]


def pytest_configure() -> None:
    """Have the commands get signals as a person's have them: what has started us in the background
    may have had us ignore some, and who is started inherits that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """The address of a registry with the images of stand_ins.py."""
    try:
        data = stand_in_registry()
    except MissingPackage as error:
        need(str(error))
    with serve_registry(data) as address:
        yield address


@contextlib.contextmanager
def _scratch_directory() -> Iterator[Path]:
    """A directory in memory, removed whatever the modes in it are."""
    scratch = Path(tempfile.mkdtemp(dir=SCRATCH, prefix="cwl-udss-tests-"))
    yield scratch
    try:
        remove_tree(scratch)
    except OSError:  # a real podman that was tried leaves what only it can remove
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="session")
def environment(registry: str) -> Iterator[dict[str, str]]:
    """An environment in which the commands find the registry, and a store that tests share."""
    with _scratch_directory() as scratch:
        for name in ("home", "tmp"):
            (scratch / name).mkdir()
        configuration = scratch / "registries.conf"
        configuration.write_text(mirrors(registry))
        kept = {name: os.environ[name] for name in ("LANG", "CI") if name in os.environ}
        yield {
            **kept,
            "PATH": f"{COMMANDS}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(scratch / "home"),
            "TMPDIR": str(scratch / "tmp"),
            "CONTAINERS_REGISTRIES_CONF": str(configuration),
            "CONTAINERS_REGISTRIES_CONF_DIR": str(scratch / "none"),
            "CWL_UDSS_STORE": str(scratch / "store"),
            "CWL_UDSS_TESTS_CACHE": str(cache_directory()),
        }


@pytest.fixture
def run_command(environment: dict[str, str], tmp_path: Path) -> Command:
    """Run one of the installed commands, in a directory of the test's own."""

    def run(
        name: str, *arguments: str | Path, timeout: float = 120, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMANDS / name, *arguments],
            cwd=tmp_path,
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root filesystem that is there without any image."""
    program = shutil.which("busybox")
    if program is None:
        need("needs the Debian package busybox-static")
    root = tmp_path_factory.mktemp("busybox")
    root.chmod(0o755)  # as in all images
    for directory in ("bin", "etc", "var/lib/cwl", "tmp", "proc", "sys", "dev"):
        (root / directory).mkdir(parents=True)
    shutil.copy(str(program), root / "bin/busybox")
    for name in ("sh", "ls", "cat", "touch", "env", "id", "sleep", "kill", "setsid", "true"):
        (root / "bin" / name).symlink_to("busybox")
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (root / "etc" / name).touch()
    return root
