# SPDX-License-Identifier: Apache-2.0
"""Containers that stay: started, looked at, entered and ended by name."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doors.callers import Door

IMAGE = "busybox"


@pytest.fixture
def box(podman: Door) -> Iterator[str]:
    """A shell that waits for commands that never come, as StreamFlow has it."""
    done = podman("run", "--detach", "--interactive", "--rm", "--name", "box", IMAGE)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch("[0-9a-f]{64}\n", done.stdout)
    yield done.stdout.strip()
    podman("kill", "box")


def test_a_container_stays_and_is_entered(podman: Door, box: str) -> None:
    podman("exec", box, "sh", "-c", "echo x > /tmp/a; echo y > /etc/b")
    done = podman(
        *("exec", "-i", "-e", "Q=z", "-w", "/tmp", "box", "sh", "-c"),
        "cat a /etc/b -; echo $Q; exit 5",
        input="in\n",
    )
    assert (done.stdout, done.returncode) == ("x\ny\nin\nz\n", 5)


def test_who_enters_has_no_more_than_who_is_there(podman: Door, box: str) -> None:
    script = "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status; unshare -U true; ls /proc/1/root"
    done = podman("exec", "box", "sh", "-c", script)
    capabilities = re.findall(r"^Cap\w+:\s+(\w+)$", done.stdout, re.MULTILINE)
    assert capabilities == ["0" * 16] * 5
    assert "NoNewPrivs:\t1\n" in done.stdout
    assert "Seccomp:\t2\n" in done.stdout


def test_a_command_that_is_not_there_is_127(podman: Door, box: str) -> None:
    assert podman("exec", "box", "nonesuch").returncode == 127


def test_it_is_listed_and_described(podman: Door, docker: Door, box: str) -> None:
    assert podman("ps", "-q", "--no-trunc").stdout == f"{box}\n"
    lines = podman("ps", "--format", "table {{.Names}}\t{{.Image}}").stdout.splitlines()
    assert [line.split() for line in lines] == [["NAMES", "IMAGE"], ["box", IMAGE]]
    facts = json.loads(docker("inspect", "--format", "{{json .}}", box).stdout)
    assert (facts["Id"], facts["Name"], facts["State"]["Running"]) == (box, "/box", True)
    assert podman("inspect", "-f", "{{.State.Status}} {{.Name}}", "box").stdout == "running box\n"
    assert [value["IPAddress"] for value in facts["NetworkSettings"]["Networks"].values()] == [""]


def test_what_it_uses_is_told_until_it_ends(docker: Door, box: str) -> None:
    """As cwltool asks: without --no-stream, for a percentage."""
    process = docker.start("stats", "--no-trunc", "--format", "{{.MemPerc}}", box)
    assert process.stdout is not None
    assert re.fullmatch(r"\d+\.\d\d%\n", process.stdout.readline())
    docker("kill", box)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_stop_is_quick_and_what_has_gone_is_said_quietly(podman: Door, box: str) -> None:
    began = time.monotonic()
    assert podman("stop", "box").stdout == "box\n"
    assert time.monotonic() - began < 8
    for command in ("stop", "kill", "rm"):
        done = podman(command, "box")
        assert (done.returncode, done.stdout) == (1, "")
        assert "no such container" in done.stderr


def test_who_does_not_listen_is_killed(podman: Door) -> None:
    podman("run", "-d", "--name", "deaf", IMAGE, "sh", "-c", "trap '' TERM; sleep 99; sleep 99")
    assert podman("stop", "-t", "1", "deaf").returncode == 0
    assert podman("inspect", "-f", "{{.State.ExitCode}}", "deaf").stdout == "137\n"
    assert podman("rm", "deaf").returncode == 0


def test_what_has_ended_stays_until_it_is_removed(podman: Door) -> None:
    script = "echo out; echo err >&2; exit 4"
    assert podman("run", "-d", "--name", "short", IMAGE, "sh", "-c", script).returncode == 0
    assert podman("wait", "short").stdout == "4\n"
    done = podman("logs", "short")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert podman("logs", "--tail", "0", "short").stdout == ""
    again = podman("run", "--name", "short", IMAGE, "true")
    assert (again.returncode, "already in use" in again.stderr) == (125, True)
    assert podman("run", "--rm", "--replace", "--name", "short", IMAGE, "true").returncode == 0
    assert podman("ps", "-aq").stdout == ""


def test_a_container_is_made_first_and_started_later(podman: Door) -> None:
    id = podman("create", "--name", "later", IMAGE, "echo", "now").stdout.strip()
    assert podman("ps", "-a", "--format", "{{.Status}}").stdout == "Created\n"
    assert podman("start", "--attach", id[:12]).stdout == "now\n"
    assert podman("start", "later").stdout == "later\n"
    assert podman("wait", "later").stdout == "0\n"
    assert podman("rm", "-f", "later", "nonesuch").returncode == 0


def test_a_signal_by_name_reaches_the_command(podman: Door) -> None:
    script = "trap 'exit 9' USR1; while :; do sleep 0.1; done"
    podman("run", "-d", "--name", "told", IMAGE, "sh", "-c", script)
    time.sleep(0.5)  # until it has set its trap
    assert podman("kill", "--signal", "SIGUSR1", "told").returncode == 0
    assert podman("wait", "told").stdout == "9\n"
    podman("rm", "told")


def test_what_killed_processes_have_left_can_be_cleaned_up(
    podman: Door, run_command: Callable[..., Any]
) -> None:
    """Not what has come to its own end, and may be looked at."""
    podman("run", "--name", "ended", IMAGE, "true")
    podman("create", "--name", "made", IMAGE)
    for name, options in (("killed", ()), ("gone", ("--rm",))):
        script = "echo begun; sleep 60"
        running = podman.start("run", "--name", name, *options, IMAGE, "sh", "-c", script)
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        running.kill()
        running.communicate()
    node = Path(podman.environment["CWL_UDSS_SCRATCH"])
    done = run_command("cwl-udss", "clean", CWL_UDSS_SCRATCH=str(node))
    assert done.returncode == 0, done.stderr
    names = podman("ps", "-a", "--format", "{{.Names}}").stdout.split()
    assert sorted(names) == ["ended", "made"]
    assert {path.name for path in node.glob("*/names/*")} == {"ended", "made"}
    assert len(list(node.glob("*/containers/*"))) == 2


def test_lists_as_json_are_podmans(podman: Door) -> None:
    podman("run", "--name", "ended", "--label", "a=b", IMAGE, "echo", "a b")
    (found,) = json.loads(podman("ps", "--all", "--format", "json").stdout)
    wanted = {"Names": ["ended"], "Command": ["echo", "a b"], "Labels": {"a": "b"}, "Exited": True}
    assert wanted.items() <= found.items()
    assert podman("container", "prune", "--force").stdout == f"{found['Id']}\n"
    assert json.loads(podman("ps", "--all", "--format", "json").stdout) == []
    podman("tag", IMAGE, "other:1")
    listed = json.loads(podman("images", "--format", "json").stdout)
    (image,) = [one for one in listed if "localhost/other:1" in one["Names"]]
    assert "docker.io/library/busybox:latest" in image["RepoTags"]
    assert isinstance(image["Size"], int)
    assert podman("rmi", "other:1").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("help",), 0, "Usage: podman [OPTIONS] COMMAND"),
        (("help", "run"), 0, "podman run [OPTIONS] IMAGE"),
        (("inspect",), 1, "requires at least 1 arg(s), only received 0"),
        (("rmi", "nonesuch"), 1, "Error: nonesuch: image not known"),
        (("nonesuch",), 125, "unknown command 'nonesuch': there are build, cp,"),
    ],
)
def test_who_types_something_else_is_told(
    podman: Door, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = podman(*arguments)
    assert done.returncode == code
    assert words in done.stdout + done.stderr
