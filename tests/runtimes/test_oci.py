# SPDX-License-Identifier: Apache-2.0
"""What is particular to sandboxes that crun and runc make."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from steps import Step
from test_steps import start_sleep, wait_until

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.oci import probe
from cwl_udss.runtimes.oci.bundle import configuration
from cwl_udss.runtimes.oci.oci import OciRuntime
from cwl_udss.runtimes.probing import trial
from cwl_udss.sandbox import Ending, Result, Streams

FINDERS = {"crun": probe.find_crun, "runc": probe.find_runc}


def test_what_they_are_told() -> None:
    config = json.loads(configuration(root="/root", program="/first", network=False))
    assert config["process"]["args"] == ["/first"]
    assert config["process"]["noNewPrivileges"] is True
    assert config["process"]["terminal"] is False
    assert config["root"] == {"path": "/root", "readonly": True}
    assert {mount["destination"] for mount in config["mounts"]} == {"/proc", "/dev"}
    kinds = {namespace["type"] for namespace in config["linux"]["namespaces"]}
    assert kinds == {"ipc", "mount", "network", "pid", "uts"}
    assert config["linux"]["readonlyPaths"] == []
    assert "resources" not in config["linux"]  # they would be ignored, or refused


def test_what_they_are_told_with_the_hosts_network_and_as_root() -> None:
    content = configuration(root="/r", program="/f", network=True, read_only=("/proc/sys",))
    config = json.loads(content)
    assert {"type": "network"} not in config["linux"]["namespaces"]
    assert config["linux"]["readonlyPaths"] == ["/proc/sys"]


def test_no_environment_variable_and_no_argument_is_in_what_they_are_told(oci_step: Step) -> None:
    """As it is in files that others may read, and has to be text."""
    outcome = oci_step.execute(("env",), environment={"PATH": "/bin", "a.b": "\udcff=\n"})
    assert outcome.stdout == "PATH=/bin\na.b=\udcff=\n\n"


def test_where_a_site_has_their_libraries_is_for_them_alone(
    oci_step: Step, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert isinstance(oci_step.runtime, OciRuntime)
    program = tmp_path / "program"
    said = tmp_path / "outdir/said"
    program.write_text(
        f'#!/bin/sh\necho $LD_LIBRARY_PATH >{said}; exec {oci_step.runtime.path} "$@"\n'
    )
    program.chmod(0o755)
    step = replace(oci_step, runtime=replace(oci_step.runtime, path=str(program)))
    assert step.execute(("env",), environment={"PATH": "/bin"}).stdout == "PATH=/bin\n"
    assert said.read_text() == f"{tmp_path}\n"


def test_orphans_are_waited_for(oci_step: Step) -> None:
    outcome = oci_step.run(
        "for n in $(busybox seq 50); do (busybox sleep 0.01 &); done; busybox sleep 0.3;"
        "busybox grep -l 'State:.Z' /proc/[0-9]*/status; echo ran"
    )
    assert outcome.stdout == "ran\n"


def test_nobody_can_trace_what_waits_for_the_command(oci_step: Step) -> None:
    outcome = oci_step.run(
        "cat /proc/1/environ; readlink /proc/1/exe; busybox readlink /proc/1/fd/3;"
        "(echo x >/proc/1/fd/3) && echo wrote; echo ran"
    )
    assert outcome.stdout == "ran\n"


def test_what_waits_for_the_command_is_killed(oci_step: Step) -> None:
    started = start_sleep(oci_step)
    outermost = psutil.Process(started.process.pid)
    # The first process around the container, that of the container, and sleep.
    wait_until(lambda: len(outermost.children(recursive=True)) == 3)
    outermost.children(recursive=True)[1].kill()
    assert started.wait() == Result(exit_code=128 + signal.SIGKILL, ending=Ending.KILLED)


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str, str], str]:
    """Makes a program of a name, and returns where it is to be looked for."""

    def make(name: str, script: str) -> str:
        directory = tmp_path / "bin"
        directory.mkdir()
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
        return f"{directory}:{os.environ['PATH']}"

    return make


@pytest.mark.parametrize("name", FINDERS)
@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param("exit 1", "--version fails: is it {}", id="fails"),
        pytest.param("echo podman version 4", "says nothing of {}", id="is another"),
        pytest.param("echo {} version 1.2; exec 2>&-", "no sandbox can be made", id="does nothing"),
        pytest.param(
            '[ "$1" = --version ] && exec echo {} version 0.1; echo no such option; exit 1',
            r"no sandbox can be made with \S+ \(no such option\)",
            id="is too old",
        ),
    ],
)
def test_what_only_calls_itself_so_is_refused(
    fake: Callable[[str, str], str], name: str, script: str, message: str
) -> None:
    with pytest.raises(SandboxError, match=message.format(name)) as caught:
        FINDERS[name](fake(name, script.replace("{}", name)))
    assert caught.value.advice


@pytest.mark.parametrize("name", FINDERS)
def test_one_that_hangs_is_not_waited_for(
    fake: Callable[[str, str], str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "PROBE_SECONDS", 0.5)
    with pytest.raises(SandboxError, match="has not come to an end"):
        FINDERS[name](fake(name, "exec sleep 60"))


@pytest.mark.parametrize("name", FINDERS)
def test_one_that_is_not_there_or_is_no_program(name: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=f"there is no {name}") as caught:
        FINDERS[name](str(tmp_path))
    assert name in caught.value.advice
    (tmp_path / name).mkdir()
    with pytest.raises(SandboxError, match=f"there is no {name}"):
        FINDERS[name](str(tmp_path))


def test_one_that_is_killed_is_no_end_of_the_step(oci_step: Step, tmp_path: Path) -> None:
    assert isinstance(oci_step.runtime, OciRuntime)
    program = tmp_path / "killed"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    step = replace(oci_step, runtime=replace(oci_step.runtime, path=str(program)))
    with pytest.raises(SandboxError, match="could not be made"):
        step.run("true")


def test_nothing_of_an_image_is_touched_by_a_start_that_fails(
    oci_step: Step, busybox_root: Path
) -> None:
    before = sorted(busybox_root.rglob("*"))
    bind = replace(oci_step.sandbox.binds[-1], source="/nothing/there")
    with pytest.raises(SandboxError, match=r"/nothing/there cannot be shown at /var/lib/cwl/2/x"):
        oci_step.run(
            "true",
            binds=(*oci_step.sandbox.binds, replace(bind, destination="/var/lib/cwl/2/x")),
        )
    assert sorted(busybox_root.rglob("*")) == before


IN_CONTROL_GROUPS_OF_VERSION_2 = """
mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup && exec "$@"
"""
FIND = """
import sys
from cwl_udss.runtimes.oci.probe import find_crun, find_runc
print({"crun": find_crun, "runc": find_runc}[sys.argv[1]]().description)
"""


@pytest.fixture
def with_control_groups_of_version_2() -> Iterator[tuple[str, ...]]:
    """The beginning of a command on a machine that has no others, as newer ones are."""
    if not os.path.ismount("/sys/fs/cgroup/unified"):
        pytest.skip("there are no others here")
    yield ("unshare", "-r", "-m", "sh", "-c", IN_CONTROL_GROUPS_OF_VERSION_2, "sh")


@pytest.mark.parametrize("name", FINDERS)
def test_on_machines_with_new_control_groups_only(
    with_control_groups_of_version_2: tuple[str, ...], oci_step: Step, name: str
) -> None:
    command = (*with_control_groups_of_version_2, sys.executable, "-c", FIND, name)
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stdout.startswith(name), found.stderr


def test_many_at_once(oci_step: Step) -> None:
    """Each has a state of its own: all have the same name."""
    command = ("sh", "-c", "busybox sleep 0.3; exit 4")
    sandbox = replace(oci_step.sandbox, command=command)
    streams = Streams(stdout=1, stderr=2)
    started = [oci_step.runtime.start(sandbox, streams) for _ in range(8)]
    assert [process.wait().exit_code for process in started] == [4] * 8
