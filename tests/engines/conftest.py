# SPDX-License-Identifier: Apache-2.0
"""What the tests of other programs share: an account with our commands first in PATH."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from accounts import Account, make_account
from commands import COMMANDS
from nextflow import Nextflow
from stand_ins import cache_directory

ENGINES = ("podman", "docker", "apptainer", "singularity", "udocker")


@pytest.fixture(scope="session")
def account(registry: str) -> Iterator[Account]:
    """The account of a user who has typed one command of ours."""
    # Not where containers have something of their own, as no home directory is there.
    with tempfile.TemporaryDirectory(dir=cache_directory(), prefix="account-") as directory:
        account = make_account(Path(directory), _site(registry))
        install = [COMMANDS / "cwl-udss", "shim", "install", account.shims, *ENGINES]
        account.succeed(*install, cwd=account.home)
        yield account
        # Images have directories that only their owner may change; removing them is our affair.
        shutil.rmtree(account.home / ".cache", ignore_errors=True)


def _site(registry: str) -> str:
    """A registries.conf(5) of a site that asks this registry and no other."""
    return "".join(
        f'[[registry]]\nprefix = "{name}"\nlocation = "{registry}/{name}"\ninsecure = true\n'
        for name in ("docker.io", "quay.io")
    )


@pytest.fixture(scope="session")
def nextflow(account: Account) -> Nextflow:
    """Nextflow, as this user has it."""
    nextflow = Nextflow(account)
    nextflow.prepare()
    return nextflow
