# SPDX-License-Identifier: Apache-2.0
"""Where the steps of a run on this machine work, and what a run that is stopped leaves there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import COMMANDS, Command
from mortal import remaining
from needs import need

BUSYBOX = {"DockerRequirement": {"dockerPull": "busybox:1.36"}}
# What a step leaves in both of its directories.
LEAVE = "mkdir -p a/b $TMPDIR/c/d && echo x >a/b/f && chmod 0 a/b a $TMPDIR/c/d $TMPDIR/c"


def write_tool(path: Path, script: str, **fields: Any) -> Path:
    """A tool that runs a shell script, in an image if its `hints` say so."""
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "hints": BUSYBOX,
        "inputs": {},
        "baseCommand": ["sh", "-c", script],
        "outputs": {"made": {"type": "File", "outputBinding": {"glob": "made"}}},
        **fields,
    }
    path.write_text(json.dumps(tool))
    return path


def plain(log: str) -> str:
    """A log without colours and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", log).split())


def working_directories(log: str) -> list[Path]:
    """Where cwltool has said that steps work."""
    return [Path(path) for path in re.findall(r"\[job [^]]+\] (/\S+)\$", plain(log))]


def left_in(*places: Path) -> list[str]:
    """What is there besides the directories that stay: they are empty, but for what is remembered
    of runtimes."""
    stay = ("cwl-udss-*", "cwl-udss-*/runs", "cwl-udss-*/tried", "cwl-udss-*/tried/*.json")
    return [
        str(path)
        for place in places
        for path in place.rglob("*")
        if not any(path.match(f"{place}/{name}") for name in stay)
    ]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A directory for each variable that may name one."""
    names = ("TMPDIR", "PBS_JOBFS", "SLURM_TMPDIR", "CWL_UDSS_SCRATCH")
    for name in names:
        (tmp_path / name).mkdir()
    return {name: str(tmp_path / name) for name in names}


@pytest.mark.parametrize("hints", [BUSYBOX, {}], ids=["in an image", "on the host"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("TMPDIR", "PBS_JOBFS", "SLURM_TMPDIR"), "TMPDIR"),
        (("SLURM_TMPDIR", "PBS_JOBFS"), "PBS_JOBFS"),
        (("SLURM_TMPDIR",), "SLURM_TMPDIR"),
        (("TMPDIR", "CWL_UDSS_SCRATCH"), "CWL_UDSS_SCRATCH"),
    ],
)
def test_steps_work_in_the_first_that_is_named(
    run_command: Command,
    tmp_path: Path,
    places: dict[str, str],
    given: tuple[str, ...],
    expected: str,
    hints: dict[str, Any],
) -> None:
    tool = write_tool(tmp_path / "tool.cwl", "echo >made", hints=hints)
    variables = {"TMPDIR": "", **{name: places[name] for name in given}}
    done = run_command("cwltool", "--udss", tool, **variables)
    assert done.returncode == 0, done.stderr
    (directory,) = working_directories(done.stderr)
    assert directory.is_relative_to(places[expected])
    assert left_in(*map(Path, places.values())) == []


@pytest.mark.parametrize("how", ["option", "relative option", "file"])
def test_the_setting_can_be_given_as_any_other(
    run_command: Command, tmp_path: Path, how: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "config.toml").write_text(f'scratch = "{tmp_path}/here"')
    tool = write_tool(tmp_path / "tool.cwl", "echo >made")
    options = {"option": str(tmp_path / "here"), "relative option": "here"}
    given = ["--udss-scratch", options[how]] if how in options else []
    variables = {"CWL_UDSS_CONFIG": str(tmp_path / "config.toml")} if how == "file" else {}
    done = run_command("cwltool", "--udss", *given, tool, **variables)
    (directory,) = working_directories(done.stderr)
    assert directory.is_relative_to(tmp_path / "here")


@pytest.mark.parametrize(
    ("option", "others"), [("--tmpdir-prefix", ["--udss-scratch"]), ("--tmp-outdir-prefix", [])]
)
def test_options_of_cwltool_go_before(
    run_command: Command, tmp_path: Path, option: str, others: list[str]
) -> None:
    (tmp_path / "said").mkdir()
    (tmp_path / "scratch").mkdir()
    tool = write_tool(tmp_path / "tool.cwl", "echo >made")
    others = [word for name in others for word in (name, str(tmp_path / "scratch"))]
    done = run_command("cwltool", "--udss", *others, option, f"{tmp_path}/said/x", tool)
    (directory,) = working_directories(done.stderr)
    assert directory.parent == tmp_path / "said"
    assert left_in(tmp_path / "said", tmp_path / "scratch") == []


def test_what_steps_leave_stays_for_who_wants_to_see_it(
    run_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "scratch").mkdir()
    tool = write_tool(tmp_path / "tool.cwl", "echo left >made; echo half >/tmp/half")
    scratch = ("--udss-scratch", tmp_path / "scratch")
    done = run_command("cwltool", "--udss", *scratch, "--leave-tmpdir", tool)
    assert done.returncode == 0, done.stderr
    (half,) = tmp_path.glob("scratch/*/left/*/*/half")
    assert f"what the steps leave stays in {half.parent.parent}" in done.stderr
    run_command("cwl-udss", "clean", *scratch)
    assert half.read_text() == "half\n"
    done = run_command("cwltool", "--udss", *scratch, "--leave-outputs", tool)
    made = Path(json.loads(done.stdout)["made"]["path"])
    assert made.is_relative_to(tmp_path / "scratch")
    assert made.read_text() == "left\n"
    assert list(tmp_path.glob("scratch/*/left/*/*/half")) == [half]


def test_outputs_are_left_beside_the_cache(run_command: Command, tmp_path: Path) -> None:
    tool = write_tool(tmp_path / "tool.cwl", "echo left >made")
    for _ in range(2):
        done = run_command("cwltool", "--udss", "--cachedir", "cache", "--leave-outputs", tool)
        made = Path(json.loads(done.stdout)["made"]["path"])
        assert made.read_text() == "left\n"


def start(
    environment: dict[str, str], directory: Path, *command: str | Path
) -> subprocess.Popen[str]:
    """Start a command, and wait until its step works."""
    (directory / "scratch").mkdir()
    process = subprocess.Popen(
        [COMMANDS / command[0], *command[1:]],
        cwd=directory,
        env={**environment, "TMPDIR": str(directory / "scratch")},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    give_up = time.monotonic() + 60
    while not [*directory.glob("scratch/*/runs/*/*/made"), *directory.glob("made")]:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return process


def kill_all(word: str) -> None:
    """Kill the processes that have a word in their command line."""
    for process in psutil.process_iter(["cmdline"]):
        if word in (process.info["cmdline"] or ()):
            process.kill()


@pytest.mark.parametrize("hints", [BUSYBOX, {}], ids=["in an image", "on the host"])
@pytest.mark.parametrize("options", [(), ("--parallel",)], ids=["serial", "parallel"])
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 15),
        (signal.SIGHUP, 129),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"],
)
def test_a_run_that_is_stopped_leaves_nothing(
    run_command: Command,
    environment: dict[str, str],
    tmp_path: Path,
    hints: dict[str, Any],
    options: tuple[str, ...],
    number: int,
    code: int,
) -> None:
    seconds = f"7{os.getpid()}"  # to know the process again
    script = f"{LEAVE}; echo >made; exec sleep {seconds}"
    tool = write_tool(tmp_path / "tool.cwl", script, hints=hints)
    driver = start(environment, tmp_path, "cwltool", "--udss", *options, tool)
    scratch = tmp_path / "scratch"
    cleaned = run_command("cwl-udss", "clean", TMPDIR=str(scratch))
    assert cleaned.stdout == ""  # it lives
    driver.send_signal(number)
    if number == signal.SIGKILL and not hints:  # nothing ends a step on the host with its driver
        kill_all(seconds)
    _, log = driver.communicate(timeout=30)
    assert driver.returncode == code
    assert "Traceback" not in log
    if number == signal.SIGKILL:
        assert left_in(scratch)
        cleaned = run_command("cwl-udss", "clean", TMPDIR=str(scratch))
        assert f"removed {scratch}/cwl-udss-{os.getuid()}/runs/" in cleaned.stdout
    assert left_in(scratch) == []
    assert remaining(seconds) == []


def test_a_command_that_is_killed_leaves_what_clean_knows(
    run_command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    words = ("cwl-udss", "run", "busybox:1.36", "sh", "-c", "echo >/tmp/half; echo >made; sleep 99")
    process = start(environment, tmp_path, *words)
    process.kill()
    process.communicate()
    assert len(list(tmp_path.glob("scratch/*/runs/*/half"))) == 1
    run_command("cwl-udss", "clean", TMPDIR=str(tmp_path / "scratch"))
    assert left_in(tmp_path / "scratch") == []


def test_the_next_run_cleans_up_too(
    run_command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    tool = write_tool(
        tmp_path / "tool.cwl",
        f"{LEAVE}; echo >made; sleep $0",
        inputs={"seconds": {"type": "int", "default": 0, "inputBinding": {}}},
    )
    driver = start(environment, tmp_path, "cwltool", "--udss", tool, "--seconds", "99")
    driver.kill()
    driver.communicate()
    assert left_in(tmp_path / "scratch")
    done = run_command("cwltool", "--udss", tool, TMPDIR=str(tmp_path / "scratch"))
    assert done.returncode == 0, done.stderr
    assert left_in(tmp_path / "scratch") == []


def test_expressions_leave_nothing_while_they_run(
    environment: dict[str, str], tmp_path: Path
) -> None:
    tool = write_tool(
        tmp_path / "tool.cwl",
        "echo >made; sleep 99",
        requirements={"InlineJavascriptRequirement": {}},
        arguments=["${ return 'evaluated'; }"],
    )
    driver = start(environment, tmp_path, "cwltool", "--udss", tool)
    try:
        assert os.listdir(tmp_path / "scratch") == [f"cwl-udss-{os.getuid()}"]
        (run,) = tmp_path.glob("scratch/*/runs/*.owner")
        assert len(list(run.parent.iterdir())) == 2
    finally:
        driver.terminate()
        driver.communicate()


def check_refused(done: subprocess.CompletedProcess[str], place: Path, reason: str) -> None:
    assert done.returncode == 1
    assert f"the scratch directory {place} cannot be used: {reason}" in plain(done.stderr)
    assert "name another with --udss-scratch" in done.stderr
    assert "Traceback" not in done.stderr
    assert "[job" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "No such file or directory"),
        ("file", "it is no directory"),
        ("closed", "you may not write there"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_before_anything_runs(
    run_command: Command, tmp_path: Path, kind: str, reason: str
) -> None:
    if kind == "closed" and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    place = tmp_path / kind
    if kind == "file":
        place.touch()
    elif kind == "closed":
        place.mkdir(mode=0o500)
    tool = write_tool(tmp_path / "tool.cwl", "echo >made")
    scratch = ("--udss-scratch", place)
    check_refused(run_command("cwltool", "--udss", *scratch, tool), place, reason)
    check_refused(run_command("cwl-udss", "run", *scratch, "busybox:1.36", "true"), place, reason)
    check_refused(run_command("cwl-udss", "clean", *scratch), place, reason)
    doctor = run_command("cwl-udss", "doctor", *scratch)
    assert doctor.returncode == 1
    assert re.search(rf"FAIL  scratch: .* {place} cannot be used: {reason}", doctor.stdout)
    # Whoever runs nothing needs none.
    assert run_command("cwltool", "--udss", *scratch, "--validate", tool).returncode == 0
    assert kind == "file" or not list(tmp_path.glob(f"{kind}/*"))


@pytest.mark.parametrize(
    ("options", "filling", "reason"),
    [
        ("size=64k", "cat /dev/zero >mounted/file 2>/dev/null", "No space left on device"),
        ("noexec", "true", "it is mounted noexec, so that no program there can be executed"),
    ],
    ids=["full", "noexec"],
)
def test_a_filesystem_that_cannot_be_used_is_refused_before_anything_runs(
    environment: dict[str, str], tmp_path: Path, options: str, filling: str, reason: str
) -> None:
    (tmp_path / "mounted").mkdir()
    tool = write_tool(tmp_path / "tool.cwl", "echo >made")
    command = f"cwltool --udss --udss-scratch mounted {tool}"
    script = f"mount -t tmpfs -o {options} none mounted || exit 77; {filling}; {command}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        need(f"users must be allowed to mount in a namespace: {done.stderr}")
    check_refused(done, tmp_path / "mounted", reason)
