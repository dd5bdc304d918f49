# SPDX-License-Identifier: Apache-2.0
"""What is particular to sandboxes that container engines make: Apptainer and podman."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from foreign.sid import Sid
from steps import Step
from test_steps import start_sleep, wait_until

from cwl_udss.errors import SandboxError
from cwl_udss.files.scratch import program_directory
from cwl_udss.runtimes.apptainer.apptainer import Apptainer, arguments
from cwl_udss.runtimes.apptainer.probe import find_apptainer
from cwl_udss.runtimes.choosing.table import APPTAINER, PODMAN, RUNTIMES, SINGULARITY
from cwl_udss.runtimes.engines.view import View, Way, is_plain, is_text
from cwl_udss.runtimes.limits import DEVICES, ROOT_USER, SITE_MOUNTS
from cwl_udss.runtimes.operations import (
    MakeSymlink,
    MountBind,
    MountFile,
    MountSpecial,
    MountTmpfs,
)
from cwl_udss.runtimes.podman.podman import Podman
from cwl_udss.runtimes.podman.probe import find_podman
from cwl_udss.runtimes.probing import trial
from cwl_udss.sandbox import Ending, Result, Streams

Temporary = Callable[[], AbstractContextManager[Path]]


def test_a_view_has_what_is_in_memory_in_a_directory_of_its_own(tmp_path: Path) -> None:
    view = View(tmp_path, Way(can_be_told=is_text)).add_all(
        (
            MountBind("/", "/image", False, is_directory=True),
            MountSpecial("/dev"),
            MountTmpfs("/var/lib/cwl"),
            MountBind("/var/lib/cwl/1/a", __file__, False, is_directory=False),
            MountFile("/etc/passwd", b"me\n"),
            MakeSymlink("/var/lib/cwl/link", "1/a"),
        )
    )
    assert view.root == "/image"
    inputs, file, passwd = view.binds
    assert (inputs.path, inputs.writable) == ("/var/lib/cwl", False)
    assert (Path(inputs.source) / "1/a").is_file()
    assert os.readlink(Path(inputs.source) / "link") == "1/a"
    assert file.path == "/var/lib/cwl/1/a"
    assert Path(passwd.source).read_bytes() == b"me\n"


def test_what_apptainer_is_told(tmp_path: Path) -> None:
    view = View(tmp_path, Way(can_be_told=is_text))
    view.binds += [
        MountBind('/in/a,"b":c\n', "/host/1", False, is_directory=False),
        MountBind("/out", "/host/2", True, is_directory=True),
    ]
    words = arguments(view, network=False)
    assert words[-2] == view.root
    assert 'type=bind,source=/host/1,"destination=/in/a,""b"":c\n",ro' in words
    assert "type=bind,source=/host/2,destination=/out" in words
    assert "none" in words
    assert "none" not in arguments(view, network=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("/a b/c-d_e.f", True), ("/a:b", False), ("/a,b", False), ("/a\nb", False), ("/ä", False)],
)
def test_names_that_mean_something(name: str, expected: bool) -> None:
    assert is_plain(name) == expected


def test_no_variable_of_the_callers_is_an_option(small_step: Step, apptainer: Apptainer) -> None:
    variables = {"APPTAINER_BIND": "/usr:/surprise", "SINGULARITYENV_LD_PRELOAD": "/x"}
    runtime = replace(apptainer, environment={**apptainer.environment, **variables})
    outcome = replace(small_step, runtime=runtime).run("ls -d /surprise; env")
    assert "surprise" not in outcome.stdout
    assert "LD_PRELOAD" not in outcome.stdout


def test_scripts_of_an_image_are_not_executed(
    small_step: Step, apptainer: Apptainer, busybox_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", busybox_root, root], check=True)
    scripts = root / ".singularity.d/env"
    scripts.mkdir(parents=True)
    (scripts / "10-mine.sh").write_text("echo mine; echo mine >&2; exit 3\n")
    step = replace(small_step, runtime=apptainer)
    step = replace(step, sandbox=replace(step.sandbox, root=replace(step.sandbox.root, path=root)))
    outcome = step.run("echo ran")
    assert (outcome.stdout, outcome.stderr) == ("ran\n", "")
    assert outcome.result == Result(exit_code=0, ending=Ending.EXITED)


def containers(podman: Podman) -> str:
    """What podman knows of."""
    done = subprocess.run(
        [podman.path, "--log-level=error", "ps", "--all", "--quiet"],
        env=dict(podman.environment),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("way", ["kill", "its client", "the first process"])
def test_podman_keeps_no_container_however_it_ends(
    small_step: Step, podman: Podman, way: str
) -> None:
    before = conmons()
    started = start_sleep(replace(small_step, runtime=podman))
    assert containers(podman)
    (conmon,) = conmons() - before
    (first,) = conmon.children()
    if way == "kill":
        started.kill()
    elif way == "its client":
        os.kill(started.process.pid, signal.SIGKILL)
    else:
        first.kill()
    assert started.wait() == Result(exit_code=128 + signal.SIGKILL, ending=Ending.KILLED)
    wait_until(lambda: not containers(podman))
    assert not conmons() - before


def conmons() -> set[psutil.Process]:
    """What is above containers, and has become a child of ours; those of killed runs, too."""
    return {child for child in psutil.Process().children() if child.name() == "conmon"}


def test_nothing_is_left_of_a_podman_that_is_killed_before_its_container_begins(
    small_step: Step, podman: Podman
) -> None:
    """It has been made by then, and nobody would ever start it."""

    def tidies_up() -> list[psutil.Process]:
        own = psutil.Process().children(recursive=True)
        return [one for one in own if one.name() == "conmon" and one.status() != "zombie"]

    started = podman.start(
        replace(small_step.sandbox, command=("sleep", "60")), Streams(stdout=1, stderr=2)
    )
    wait_until(tidies_up)
    started.process.kill()
    assert started.wait(30).ending is Ending.KILLED
    assert tidies_up() == []


def test_where_a_user_has_no_further_ids_a_step_is_root_who_is_the_caller(
    small_step: Step, podman: Podman, tmp_path: Path, temporary: Temporary
) -> None:
    environment = in_front(
        podman.environment,
        tmp_path,
        "podman",
        'case "$*" in *keep-id*) echo "keep-id requires additional UIDs" >&2; exit 125;; esac',
        podman.path,
    )
    found = find_podman(temporary, environment)
    assert {ROOT_USER, DEVICES} <= set(found.limits)
    outcome = replace(small_step, runtime=found).run("echo x >/out/file; echo x >/new; id -u")
    assert outcome.stdout == "0\n"
    assert (small_step.outdir / "file").stat().st_uid == os.getuid()


def test_podman_says_that_it_hands_on_no_terminal(small_step: Step, podman: Podman) -> None:
    master, slave = os.openpty()
    streams = Streams(stdin=slave, stdout=slave, stderr=slave, hands_on_terminals=True)
    with pytest.raises(SandboxError, match="no terminal"):
        podman.start(replace(small_step.sandbox, command=("true",)), streams)
    os.close(master)
    os.close(slave)


def test_podman_says_that_it_cannot_enter_a_root(
    small_step: Step, podman: Podman, busybox_root: Path
) -> None:
    busybox_root.chmod(0o700)
    try:
        with pytest.raises(SandboxError, match="nobody but its owner"):
            replace(small_step, runtime=podman).run("true")
    finally:
        busybox_root.chmod(0o755)


def test_what_a_site_shows_in_every_container_is_named(
    apptainer: Apptainer, tmp_path: Path, temporary: Temporary
) -> None:
    (tmp_path / "shown").mkdir()
    forced = f'[ "$2" = exec ] && shift 2 && set -- --silent exec -B {tmp_path}/shown:/site "$@"'
    environment = in_front(apptainer.environment, tmp_path, "apptainer", forced, apptainer.path)
    assert SITE_MOUNTS in find_apptainer("apptainer", temporary, environment).limits
    assert SITE_MOUNTS not in apptainer.limits


def test_containers_in_which_the_hosts_processes_are_are_refused(
    apptainer: Apptainer, tmp_path: Path, temporary: Temporary
) -> None:
    forced = (
        'for word; do shift; [ "$word" = --containall ] && word=--contain;'
        ' set -- "$@" "$word"; done'
    )
    environment = in_front(apptainer.environment, tmp_path, "apptainer", forced, apptainer.path)
    with pytest.raises(SandboxError, match=r"the host's processes: ask for `allow pid ns"):
        find_apptainer("apptainer", temporary, environment)


def test_a_singularity_is_found_by_its_name(sid: Sid, tmp_path: Path, temporary: Temporary) -> None:
    sid.write_script(tmp_path / "singularity", "apptainer")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    found = find_apptainer("singularity", temporary, environment)
    assert found.description == f"apptainer version 1.4.5 ({tmp_path}/singularity)"


@pytest.fixture
def temporary(not_as_root: None, tmp_path: Path) -> Temporary:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return partial(program_directory, scratch, {})


def in_front(
    environment: Mapping[str, str], directory: Path, name: str, script: str, program: str = ""
) -> dict[str, str]:
    """An environment in which a script stands in front of a program, or in its place."""
    path = directory / "front" / name
    path.parent.mkdir()
    ending = f'exec {program} "$@"\n' if program else ""
    path.write_text(f"#!/bin/sh\n{script}\n{ending}")
    path.chmod(0o755)
    return {**environment, "PATH": f"{path.parent}:{environment['PATH']}"}


def find(name: str, temporary: Temporary, environment: Mapping[str, str]) -> None:
    if name == "podman":
        find_podman(temporary, environment)
    else:
        find_apptainer(name, temporary, environment)


NAMES = ("apptainer", "singularity", "podman")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param("exit 1", "--version fails: is it", id="fails"),
        pytest.param("echo bubblewrap 0.8", "says nothing of", id="is another"),
        pytest.param("echo {} version 0.1", "is too old: it has no --", id="is too old"),
        pytest.param(
            'case "$*" in *help) cat {help};; --version) echo {} version 9;;'
            " *) echo it is forbidden >&2; exit 255;; esac",
            r"no sandbox can be made with \S+ \(it is forbidden\)",
            id="is forbidden",
        ),
    ],
)
def test_what_does_not_do_is_refused_with_what_to_do(
    name: str, script: str, message: str, tmp_path: Path, temporary: Temporary
) -> None:
    (tmp_path / "help").write_text(
        "--cleanenv --containall --mount x --network --no-home --no-init --no-mount --no-privs "
        "--pwd --preserve-fds --rootfs --shm-size --userns"
    )
    script = script.replace("{help}", f"{tmp_path}/help").replace("{}", name)
    environment = in_front(os.environ, tmp_path, name, script)
    with pytest.raises(SandboxError, match=message) as caught:
        find(name, temporary, environment)
    assert caught.value.advice


@pytest.mark.parametrize(
    ("said", "problem", "advice"),
    [
        pytest.param(
            "cgroups in hybrid mode not supported, drop all controllers from cgroupv2",
            "cgroups in hybrid mode not supported",
            'set `runtime = "runc"`',
            id="crun's refusal",
        ),
        pytest.param(
            r'time="2026-01-01T00:00:00Z" level=error msg="no ranges for \"me\" in /etc/subuid"',
            '(no ranges for "me" in /etc/subuid)',
            "by hand",
            id="a line of its log",
        ),
        pytest.param(
            "cannot clone: No space left on device",
            "cannot clone",
            "user.max_user_namespaces",
            id="no user namespaces",
        ),
    ],
)
def test_what_podman_says_is_told_with_what_to_do(
    said: str, problem: str, advice: str, tmp_path: Path, temporary: Temporary
) -> None:
    (tmp_path / "help").write_text("--preserve-fds --rootfs --shm-size --userns")
    (tmp_path / "said").write_text(said)
    script = (
        f'case "$*" in *help) cat {tmp_path}/help;; --version) echo podman version 9;; '
        f"*) cat {tmp_path}/said >&2; exit 125;; esac"
    )
    with pytest.raises(SandboxError) as caught:
        find_podman(temporary, in_front(os.environ, tmp_path, "podman", script))
    assert problem in caught.value.problem
    assert "time=" not in caught.value.problem
    assert advice in caught.value.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "help").write_text("--preserve-fds --rootfs --shm-size --userns")
    script = f'case "$*" in *help) cat {tmp_path}/help;; *) echo podman version 9;; esac'
    environment = in_front(os.environ, tmp_path, "podman", script)
    with pytest.raises(SandboxError, match=r"podman contains no step of root's"):
        find_podman(partial(program_directory, tmp_path, {}), environment)


@pytest.mark.parametrize("name", [APPTAINER, SINGULARITY, PODMAN])
def test_what_each_may_not_keep_is_in_the_table_of_all(
    name: str, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue("podman" if name == PODMAN else "apptainer")
    assert set(found.limits) <= set(RUNTIMES[name].limits)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_hangs_is_not_waited_for(
    name: str, tmp_path: Path, temporary: Temporary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "PROBE_SECONDS", 0.5)
    environment = in_front(os.environ, tmp_path, name, "exec sleep 60")
    with pytest.raises(SandboxError, match="has not come to an end"):
        find(name, temporary, environment)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_not_there_or_is_no_program(
    name: str, tmp_path: Path, temporary: Temporary
) -> None:
    environment = {"PATH": str(tmp_path)}
    for make in (lambda: None, (tmp_path / name).mkdir):
        make()
        with pytest.raises(SandboxError, match=f"there is no {name}") as caught:
            find(name, temporary, environment)
        assert caught.value.advice
