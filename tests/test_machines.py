# SPDX-License-Identifier: Apache-2.0
"""What is found, and what a person reads, on machines that lack something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import COMMANDS
from machines import MACHINES, machine
from needs import need

from cwl_udss.runtimes.limits import METADATA, SIGNALS
from cwl_udss.runtimes.probing import refusals
from cwl_udss.runtimes.probing.refusals import advice_on_namespaces
from cwl_udss.runtimes.proot.landlock import landlock_abi

REFUSED = "setting up uid map: Permission denied"
WITHIN_LANDLOCK = """
import sys
from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.runtimes.proot.landlock import Rule, forbid_new_privileges, landlock_abi, restrict
forbid_new_privileges()
restrict([*map(Rule, ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/home", *sys.path[1:])),
          Rule("/tmp", True), Rule("/dev", True)], landlock_abi())
try:
    print(find_bubblewrap(None))
except SandboxError as error:
    print(error)
"""
Doctor = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def doctor(environment: dict[str, str], tmp_path: Path) -> Doctor:
    """`cwl-udss doctor --runtime` on a machine."""
    if shutil.which("proot") is None:
        need("needs the Debian package proot")
    if not landlock_abi():
        pytest.skip("this kernel has no Landlock")

    def run(name: str, *runtimes: str) -> subprocess.CompletedProcess[str]:
        options = [f"--runtime={runtime}" for runtime in runtimes]
        return subprocess.run(
            [*machine(name), COMMANDS / "cwl-udss", "doctor", *options],
            env={**environment, "CWL_UDSS_STORE": str(tmp_path / "store")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def works(said: str, name: str) -> bool:
    return any(line.startswith(f"{name} ") and " ms " in line for line in said.splitlines())


@pytest.mark.parametrize(
    ("name", "bwrap", "proot", "told"),
    [
        ("this machine", True, True, ""),
        ("no user namespaces", False, True, "ask for `sysctl user.max_user_namespaces=15000`"),
        ("no Landlock", True, False, "this kernel has no Landlock: Linux 5.13 and newer have it"),
        ("Landlock 1", True, True, "no-moves"),
        ("Landlock 2", True, True, SIGNALS.name),
        ("Landlock 3", True, True, SIGNALS.name),
        ("Landlock 6", True, True, METADATA.name),
        ("no ptrace", True, False, "ask that ptrace(2) is allowed here (kernel.yama.ptrace_scope"),
        ("/tmp noexec", True, True, ""),
        ("no /dev/fuse", True, True, ""),
        ("cgroup v2 only", True, True, ""),
        ("no subuids", True, True, ""),
        ("/proc hidepid", True, True, ""),
        ("inside podman", False, True, "the inside of a container that hides parts of /proc"),
    ],
)
def test_which_runtimes_work_where(
    doctor: Doctor, name: str, bwrap: bool, proot: bool, told: str
) -> None:
    done = doctor(name, "bwrap", "proot")
    assert (works(done.stdout, "bwrap"), works(done.stdout, "proot")) == (bwrap, proot), done
    assert told in done.stdout
    assert done.returncode == (0 if bwrap and proot else 1)
    assert (SIGNALS.name in done.stdout) == (name in ("Landlock 1", "Landlock 2", "Landlock 3"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no user namespaces", "ask for `sysctl user.max_user_namespaces=15000`"),
        ("inside podman", "the inside of a container that hides parts of /proc: run outside"),
    ],
)
def test_all_that_need_namespaces_say_the_same(doctor: Doctor, name: str, told: str) -> None:
    runtimes = ("unshare", "ch-run", "crun", "runc")
    for program in runtimes:
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            need(f"needs {program}")
    lines = doctor(name, "bwrap", *runtimes).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["bwrap", *runtimes]
    assert [line for line in lines if told not in line] == []


def test_all_machines_are_looked_at() -> None:
    marks = test_which_runtimes_work_where.pytestmark  # type: ignore[attr-defined]
    names = [values[0] for mark in marks for values in mark.args[1]]
    assert {*names, "no user namespaces, no ptrace"} == set(MACHINES)


def test_all_runtimes_are_tried_and_those_that_are_not_there_are_no_failure(
    doctor: Doctor,
) -> None:
    done = doctor("no user namespaces, no ptrace", "all")
    assert done.returncode == 0
    assert works(done.stdout, "landlock")
    assert not works(done.stdout, "proot")


def test_a_runtime_that_there_is_not(doctor: Doctor) -> None:
    done = doctor("this machine", "docker")
    assert done.returncode == 1
    assert done.stderr.startswith("cwl-udss: there is no runtime 'docker': only bwrap, ")


def test_landlock_of_who_has_started_this_is_told_from_apparmor() -> None:
    """Both have bwrap say that it cannot set up a uid map."""
    if not landlock_abi():
        pytest.skip("this kernel has no Landlock")
    done = subprocess.run(
        [sys.executable, "-c", WITHIN_LANDLOCK], capture_output=True, text=True, check=True
    )
    assert "uid map" in done.stdout
    assert "has restricted itself by Landlock" in done.stdout


@pytest.mark.parametrize(("content", "is_apparmor"), [("1\n", True), ("0\n", False), (None, False)])
def test_apparmor_only_where_it_restricts(
    content: str | None, is_apparmor: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = tmp_path / "apparmor_restrict_unprivileged_userns"
    if content is not None:
        setting.write_text(content)
    monkeypatch.setattr(refusals, "_APPARMOR", setting)
    assert ("AppArmor forbids" in advice_on_namespaces(REFUSED, "bubblewrap")) is is_apparmor
    assert "the crun package" in advice_on_namespaces(REFUSED, "crun") or not is_apparmor
