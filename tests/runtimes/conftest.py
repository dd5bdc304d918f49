# SPDX-License-Identifier: Apache-2.0
"""Runtimes, and steps with few inputs and with many."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from engines_here import apptainer_environment, has_podman, podman_environment
from foreign.sid import Sid
from needs import need
from steps import Step

from cwl_udss.files.scratch import program_directory
from cwl_udss.runtimes.apptainer.apptainer import Apptainer
from cwl_udss.runtimes.apptainer.probe import find_apptainer
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.runtimes.bubblewrap.trees import MANY
from cwl_udss.runtimes.ch_run.ch_run import ChRun
from cwl_udss.runtimes.ch_run.probe import find_ch_run
from cwl_udss.runtimes.oci.oci import OciRuntime
from cwl_udss.runtimes.oci.probe import find_crun, find_runc
from cwl_udss.runtimes.podman.podman import Podman
from cwl_udss.runtimes.podman.probe import find_podman
from cwl_udss.runtimes.proot.landlock import landlock_abi
from cwl_udss.runtimes.proot.probe import find_proot
from cwl_udss.runtimes.proot.proot import Proot
from cwl_udss.runtimes.unshare.probe import find_unshare
from cwl_udss.runtimes.unshare.unshare import Unshare
from cwl_udss.sandbox import Bind, RootFilesystem, Sandbox
from cwl_udss.surroundings.identity import identity_files


@pytest.fixture(scope="session")
def runtime() -> Bubblewrap:
    return find_bubblewrap(None)


@pytest.fixture
def small_step(busybox_root: Path, tmp_path: Path, runtime: Bubblewrap) -> Step:
    outdir, tmpdir = tmp_path / "outdir", tmp_path / "tmpdir"
    outdir.mkdir()
    tmpdir.mkdir()
    (tmp_path / "input").write_text("input\n")
    sandbox = Sandbox(
        root=RootFilesystem(path=busybox_root),
        command=(),
        environment={"PATH": "/bin", "HOME": "/out", "TMPDIR": "/tmp"},
        working_directory="/out",
        directories=("/var/lib/cwl",),
        binds=(
            Bind(source=str(outdir), destination="/out", writable=True),
            Bind(source=str(tmpdir), destination="/tmp", writable=True),
            Bind(source=str(tmp_path / "input"), destination="/var/lib/cwl/1/input"),
        ),
        files=identity_files(busybox_root, home="/out", network=False),
    )
    return Step(runtime, sandbox, outdir, tmpdir)


def with_further_inputs(step: Step, number: int) -> Step:
    binds = step.sandbox.binds
    further = tuple(
        replace(binds[-1], destination=f"/var/lib/cwl/further/{number}") for number in range(number)
    )
    return replace(step, sandbox=replace(step.sandbox, binds=binds + further))


@pytest.fixture(params=[0, MANY], ids=["few inputs", "many inputs"])
def namespaced_step(small_step: Step, request: pytest.FixtureRequest) -> Step:
    """With few inputs bwrap makes all binds, many are put together before it starts."""
    return with_further_inputs(small_step, request.param)


@pytest.fixture(scope="session")
def proot(tmp_path_factory: pytest.TempPathFactory) -> Proot:
    if shutil.which("proot") is None:
        need("needs the Debian package proot")
    if not landlock_abi():
        pytest.skip("this kernel has no Landlock")
    return find_proot(partial(program_directory, tmp_path_factory.mktemp("scratch"), {}))


@pytest.fixture
def proot_step(small_step: Step, proot: Proot) -> Step:
    return replace(small_step, runtime=proot)


@pytest.fixture(scope="session")
def unshare() -> Unshare:
    return find_unshare()


@pytest.fixture(scope="session")
def ch_run() -> ChRun:
    if shutil.which("ch-run") is None:
        need("needs the Debian package charliecloud")
    return find_ch_run()


@pytest.fixture(scope="session")
def crun() -> OciRuntime:
    if shutil.which("crun") is None:
        need("needs the Debian package crun")
    return find_crun()


@pytest.fixture(scope="session")
def runc() -> OciRuntime:
    if shutil.which("runc") is None:
        need("needs the Debian package runc")
    return find_runc()


@pytest.fixture(scope="session")
def not_as_root() -> None:
    if os.geteuid() == 0:
        pytest.skip("no container engine is used for root")


@pytest.fixture(scope="session")
def apptainer(not_as_root: None, sid: Sid, tmp_path_factory: pytest.TempPathFactory) -> Apptainer:
    environment = apptainer_environment(sid, tmp_path_factory.mktemp("programs"))
    scratch = tmp_path_factory.mktemp("scratch")
    return find_apptainer("apptainer", partial(program_directory, scratch, {}), environment)


@pytest.fixture(scope="session")
def podman(not_as_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    if not has_podman():
        need("needs the Debian packages podman and runc")
    scratch = tmp_path_factory.mktemp("scratch")
    with podman_environment() as environment:
        yield find_podman(partial(program_directory, scratch, {}), environment)


@pytest.fixture(params=["apptainer", "podman"])
def engine_step(small_step: Step, request: pytest.FixtureRequest) -> Step:
    return replace(small_step, runtime=request.getfixturevalue(request.param), name=request.param)


@pytest.fixture(params=["crun", "runc"])
def oci_step(small_step: Step, request: pytest.FixtureRequest) -> Step:
    return replace(small_step, runtime=request.getfixturevalue(request.param), name=request.param)


# By the names by which they are chosen (see choosing/table.py): the fixtures that make them.
_SAME = ("unshare", "crun", "runc", "proot", "apptainer", "podman")
RUNTIMES = {"bwrap": "runtime", "ch-run": "ch_run"} | {name: name for name in _SAME}


@pytest.fixture(params=[*RUNTIMES, "many inputs"])
def step(small_step: Step, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Step:
    """In each runtime."""
    if request.param == "many inputs":  # which bwrap does not put together itself
        return with_further_inputs(small_step, MANY)
    runtime = request.getfixturevalue(RUNTIMES[request.param])
    if isinstance(runtime, Apptainer | Podman):  # so that others of this test find it, too
        for name, value in runtime.environment.items():
            monkeypatch.setenv(name, value)
    return replace(small_step, runtime=runtime, name=request.param)
