# SPDX-License-Identifier: Apache-2.0
"""The doors `podman run` and `docker run`: what a caller gets."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from doors.callers import Door

IMAGE = "busybox"


def test_a_command_runs_in_its_image(podman: Door) -> None:
    podman("pull", IMAGE)
    done = podman("run", "--rm", IMAGE, "echo", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_it_needs_nothing_of_its_callers_environment(podman: Door, tmp_path: Path) -> None:
    """Nextflow calls by `env -`; the home directory is the password database's then."""
    done = subprocess.run(
        ["env", "-", "PATH=/usr/bin:/bin", podman.program, "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout.startswith("podman version ")


@pytest.mark.parametrize(
    ("command", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_the_exit_code_is_the_commands(podman: Door, command: str, code: int) -> None:
    assert podman("run", "--rm", IMAGE, "sh", "-c", command).returncode == code


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("nonesuch", 127, "executable file not found in $PATH"),
        ("/etc", 126, "permission denied"),
    ],
)
def test_a_command_that_cannot_be_executed_has_podmans_code(
    podman: Door, command: str, code: int, words: str
) -> None:
    done = podman("run", "--rm", IMAGE, command)
    assert done.returncode == code
    assert words in done.stderr
    assert "cwl-udss" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nonesuch", IMAGE), "unknown flag: --nonesuch"),
        (("-v", "/nonesuch:/x", IMAGE), "statfs /nonesuch: no such file or directory"),
        (("--privileged", IMAGE), "--privileged"),
        (("--gpus", "all", IMAGE), "--gpus"),
        (("-v", "data:/x", IMAGE), "name a directory"),
        (("--network", "mine", IMAGE), "network not found"),
        (("--platform", "linux/s390x", IMAGE), "no image found for platform"),
        (("--pull=never", "nonesuch:1"), "is not in the store"),
        (("--user", "nonesuch", IMAGE), "unable to find user nonesuch"),
        (("--mount", "type=bind,target=/x", IMAGE), "it has no source"),
        ((), "IMAGE"),
    ],
)
def test_what_cannot_be_done_is_said_and_is_125(
    podman: Door, arguments: tuple[str, ...], words: str
) -> None:
    done = podman("run", "--rm", *arguments)
    assert done.returncode == 125
    assert done.stderr.startswith("Error: ")
    assert words in done.stderr
    assert "(cwl-udss)" in done.stderr
    assert "Traceback" not in done.stderr


def test_docker_speaks_as_docker(docker: Door, tmp_path: Path) -> None:
    done = docker("run", "--rm", "--mount", "type=bind,src=/nonesuch,dst=/x", IMAGE)
    assert done.returncode == 125
    assert "docker: Error response from daemon: invalid mount config" in done.stderr
    missing = tmp_path / "made"
    assert docker("run", "--rm", "-v", f"{missing}:/x", IMAGE, "touch", "/x/a").returncode == 0
    assert (missing / "a").exists(), "docker makes what -v names"


def test_what_is_mounted_is_there_as_it_was_asked_for(podman: Door, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_text("read me\n")
    (tmp_path / "out").mkdir()
    script = "cat a; echo x > /out/b; echo y > /data/a || echo refused; cat /single"
    done = podman(
        *("run", "--rm", "-v", f"{tmp_path}/in:/data:ro,z", "-w", "/data"),
        *("-v", f"{tmp_path}/out:/out", "-v", f"{tmp_path}/out:/out"),
        *("--mount", f"type=bind,source={tmp_path}/in/a,target=/single,readonly=true"),
        *(IMAGE, "sh", "-c", script),
    )
    assert done.stdout == "read me\nrefused\nread me\n"
    assert (tmp_path / "out/b").read_text() == "x\n"
    assert (tmp_path / "out/b").stat().st_uid == os.getuid()


def test_a_mount_to_write_to_may_lie_in_one_to_read(podman: Door, tmp_path: Path) -> None:
    (tmp_path / "work dir").mkdir()
    done = podman(
        *("run", "--rm", "-v", f"{tmp_path}:{tmp_path}:ro", "-w", f"{tmp_path}/work dir"),
        *("-v", f"{tmp_path}/work dir:{tmp_path}/work dir", IMAGE),
        *("sh", "-c", "pwd > here; touch ../there || echo refused"),
    )
    assert done.stdout == "refused\n"
    assert (tmp_path / "work dir/here").read_text() == f"{tmp_path}/work dir\n"


def test_relative_sources_are_of_the_callers_directory(podman: Door, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    done = podman("run", "--rm", "-v", "./a:/b/c", IMAGE, "cat", "/b/c", cwd=tmp_path)
    assert done.stdout == "x"


def test_nothing_of_the_host_is_there_that_was_not_named(podman: Door, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    variables = {"SECRET": "x"}
    script = f"ls {tmp_path} /home /etc/machine-id 2>&1 | grep -c 'No such'; env | grep -c SECRET"
    done = podman("run", "--rm", IMAGE, "sh", "-c", script, variables=variables)
    assert done.stdout == "3\n0\n"
    processes = podman("run", "--rm", IMAGE, "sh", "-c", "ls /proc | grep -c '^[0-9]*$'")
    assert int(processes.stdout) <= 6


def test_a_container_can_write_everywhere_and_leaves_nothing(podman: Door) -> None:
    script = "echo x > /etc/made && mkdir -p /opt/made && cat /etc/made"
    assert podman("run", "--rm", IMAGE, "sh", "-c", script).stdout == "x\n"
    assert podman("run", "--rm", IMAGE, "ls", "/opt/made").returncode == 1


def test_a_container_may_have_users_of_its_own(podman: Door) -> None:
    """As entry points of many images make them; some replace the whole file."""
    line = "joe:x:7:7::/:/bin/sh"
    script = f"echo {line} >>/etc/passwd && mv /etc/passwd /etc/p && tail -n 1 /etc/p"
    done = podman("run", "--rm", IMAGE, "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, f"{line}\n"), done.stderr


def test_shared_memory_is_its_own_but_for_what_is_mounted_there(podman: Door) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        script = "echo 1 >here && echo 2 >/dev/shm/own && ls -A /dev/shm"
        done = podman("run", "--rm", "-v", f"{work}:{work}", "-w", work, IMAGE, "sh", "-c", script)
        assert (done.returncode, done.stdout) == (0, f"own\n{Path(work).name}\n"), done.stderr
        assert Path(work, "here").read_text() == "1\n"
    done = podman("run", "--rm", "--tmpfs", "/dev/shm:size=1m", IMAGE, "df", "-k", "/dev/shm")
    assert " 1024 " in done.stdout


def test_read_only_is_read_only_but_for_what_is_said(podman: Door) -> None:
    script = "echo x > /etc/made || echo refused; touch /tmp/a /run/a /mem/a; df -k /mem | tail -1"
    done = podman(
        *("run", "--rm", "--read-only=true", "--tmpfs", "/mem:size=1m,mode=1777"),
        *(IMAGE, "sh", "-c", script),
    )
    assert done.stdout.splitlines()[0] == "refused"
    assert done.stdout.splitlines()[1].split()[1] == "1024"


def test_the_environment_is_the_images_and_what_is_given(podman: Door, tmp_path: Path) -> None:
    (tmp_path / "file").write_text('# no\n\nB=of file\nexport C="x y"\nA=of file\n')
    done = podman(
        *("run", "--rm", "-e", "A=a b", "-e", "GIVEN", "-e", "MISSING", "-e", "EMPTY="),
        *("--env-file", "file", IMAGE, "env"),
        cwd=tmp_path,
        variables={"GIVEN": "of caller"},
    )
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    wanted = {"A": "a b", "B": "of file", "C": "x y", "GIVEN": "of caller", "EMPTY": ""}
    assert {name: found.get(name) for name in wanted} == wanted
    assert "MISSING" not in found
    assert found["HOME"] == "/root"
    assert found["container"] == "podman"
    assert re.fullmatch("[0-9a-f]{12}", found["HOSTNAME"])


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), "0:0"),
        (("-u", "1234:77"), "1234:77"),
        (("--user=root",), "0:0"),
        (("--userns=keep-id",), f"{os.getuid()}:{os.getgid()}"),
        (("--userns", "keep-id", "-u", f"{os.getuid()}:5"), f"{os.getuid()}:5"),
    ],
)
def test_the_user_has_the_ids_that_were_asked_for(
    podman: Door, tmp_path: Path, options: tuple[str, ...], ids: str
) -> None:
    script = "echo `id -u`:`id -g`; id -un > /dev/null && touch /x/a; grep CapEff /proc/self/status"
    done = podman("run", "--rm", *options, "-v", f"{tmp_path}:/x", IMAGE, "sh", "-c", script)
    assert done.stdout == f"{ids}\nCapEff:\t0000000000000000\n"
    assert (tmp_path / "a").stat().st_uid == os.getuid()


def test_the_entry_point_can_be_another_or_none(podman: Door) -> None:
    assert podman("run", "--rm", "--entrypoint", "echo", IMAGE, "a").stdout == "a\n"
    assert podman("run", "--rm", "--entrypoint", "", IMAGE, "echo", "b").stdout == "b\n"
    done = podman("run", "--rm", "--entrypoint", '["echo","c"]', IMAGE, "d")
    assert done.stdout == "c d\n"
    assert podman("run", "--rm", "--entrypoint=echo", IMAGE).stdout == "\n"


def test_words_after_the_image_are_the_commands(podman: Door) -> None:
    done = podman("run", "--rm", IMAGE, "echo", "-w", "x", "--rm", "--name=y")
    assert done.stdout == "-w x --rm --name=y\n"


def test_only_who_asks_for_it_gets_the_callers_input(podman: Door) -> None:
    assert podman("run", "--rm", "-i", IMAGE, "cat", input="x").stdout == "x"
    assert podman("run", "--rm", IMAGE, "cat", input="x").stdout == ""
    assert podman("run", "-it", "--rm", IMAGE, "cat", input="y").stdout == "y"


def test_without_a_network_there_is_none(podman: Door) -> None:
    script = "ls /sys/class/net; cat /proc/net/dev | grep -c :"
    lines = podman("run", "--rm", "--net=none", IMAGE, "sh", "-c", script).stdout.splitlines()
    assert lines[-1] == "1", "loopback alone"
    here = len(Path("/proc/net/dev").read_text().splitlines()) - 2
    done = podman("run", "--rm", "--network", "host", IMAGE, "sh", "-c", script)
    assert done.stdout.splitlines()[-1] == str(here)


def test_names_of_hosts_can_be_added(podman: Door) -> None:
    done = podman(
        *("run", "--rm", "--add-host", "db:10.1.2.3", "--dns", "9.9.9.9", "--hostname", "here"),
        *(IMAGE, "sh", "-c", "grep db /etc/hosts; cat /etc/resolv.conf; hostname"),
    )
    assert done.stdout == "10.1.2.3 db\nnameserver 9.9.9.9\nhere\n"


def test_signals_are_the_commands(podman: Door) -> None:
    script = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    process = podman.start("run", "--rm", IMAGE, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(3):  # miniwdl does so until it has gone
        process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert set(output.splitlines()) == {"got"}
    assert process.returncode == 7


def test_a_killed_caller_leaves_nothing(podman: Door) -> None:
    process = podman.start("run", "--rm", "--name", "orphan", IMAGE, "sh", "-c", "echo; sleep 4711")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    until = time.monotonic() + 10
    while time.monotonic() < until and _runs("4711"):
        time.sleep(0.05)
    assert not _runs("4711")
    assert podman("ps", "--all", "-q").stdout == ""
    assert podman("run", "--rm", "--name", "orphan", IMAGE, "true").returncode == 0


def test_it_ends_with_its_first_process_whoever_has_the_pipes(podman: Door) -> None:
    began = time.monotonic()
    done = podman("run", "--rm", IMAGE, "sh", "-c", "sleep 4712 & echo done")
    assert done.stdout == "done\n"
    assert time.monotonic() - began < 60
    assert not _runs("4712")


def test_of_many_at_once_no_two_have_one_name(podman: Door) -> None:
    names = [f"many-{number // 2}" for number in range(20)]
    processes = [podman.start("run", "--rm", "--name", name, IMAGE, "sleep", "1") for name in names]
    codes = [(process.communicate(timeout=100), process.returncode)[1] for process in processes]
    assert set(codes) <= {0, 125}
    assert codes.count(0) >= 10
    assert podman("ps", "-aq").stdout == ""


def test_the_id_is_in_its_file_while_it_runs(podman: Door, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    process = podman.start("run", "--rm", "--cidfile", str(file), IMAGE, "sh", "-c", "echo;sleep 9")
    assert process.stdout is not None
    process.stdout.readline()
    id = file.read_text()
    assert re.fullmatch("[0-9a-f]{64}", id)
    assert podman("kill", id).stdout == f"{id}\n"
    assert process.wait(timeout=30) == 137
    process.communicate()
    again = podman("run", "--rm", "--cidfile", str(file), IMAGE, "true")
    assert (again.returncode, "exists" in again.stderr) == (125, True)


def _runs(word: str) -> bool:
    """Whether a process has a word in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_bytes().decode(errors="replace").split("\0"):
                return True
        except OSError:
            continue
    return False


def test_a_container_with_too_much_memory_is_killed(podman: Door) -> None:
    """And says so, if it is asked."""
    script = "dd if=/dev/zero bs=100M count=1 2>/dev/null | sleep 60; echo survived"
    options = ("--memory", "50m", "--name", "large")
    done = podman("run", *options, IMAGE, "sh", "-c", script)
    assert (done.returncode, done.stdout) == (137, "")
    assert "more memory than --memory" in done.stderr
    state = podman("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "large")
    assert state.stdout == "true 137\n"
    podman("rm", "large")


def test_a_container_within_its_limits(podman: Door) -> None:
    done = podman("run", "--rm", "-m", "1.5g", "--cpus", "0.5", IMAGE, "nproc")
    assert (done.returncode, done.stdout) == (0, "1\n")
    every = f"{len(os.sched_getaffinity(0))}\n"
    assert podman("run", "--rm", "-m", "0", "--cpus=0", IMAGE, "nproc").stdout == every


@pytest.mark.parametrize(
    ("option", "words"), [("--memory=much", "invalid size"), ("--cpus=all", "failed to parse")]
)
def test_limits_that_are_none(podman: Door, option: str, words: str) -> None:
    done = podman("run", "--rm", option, IMAGE, "true")
    assert done.returncode == 125
    assert words in done.stderr
