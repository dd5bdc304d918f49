# SPDX-License-Identifier: Apache-2.0
"""The stand-in for a PBS cluster is as late, as limited and as broken as a real OpenPBS can be."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from nodes import make_node
from pbs_resources import NodeState, parse_resources, place
from pbs_stand_in import Pbs, PbsNode, PbsTimes, serve_pbs

FAST = PbsTimes(walltime_second=0.02).scaled(0.01)
Serve = Callable[..., Pbs]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start clusters, which end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            serve_pbs(tmp_path / "pbs", **{"times": FAST, **settings})
        )


def output(pbs: Pbs, job: str, letter: str) -> str:
    """What a job without a name has said."""
    return (pbs.home / f"STDIN.{letter}{job.partition('.')[0]}").read_text()


def is_there(path: Path) -> bool:
    """Wait for a file."""
    give_up = time.monotonic() + 20
    while not path.exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    return path.exists()


# Limits and deletion


def test_a_job_over_its_time_is_ended_when_it_is_looked_at(serve: Serve) -> None:
    pbs = serve()
    job = pbs.submit("-l", "select=1:ncpus=1,walltime=5", script="echo begin; exec sleep 60")
    shown = pbs.wait(job)
    assert (shown["Exit_status"], shown["substate"]) == (-29, 93)
    assert shown["comment"].endswith(" and exceeded resource walltime")
    assert isinstance(shown["session_id"], int)
    assert output(pbs, job, "o") == "begin\n"
    said = re.search(
        r"=>> PBS: job killed: walltime (\d+) exceeded limit 5\n", output(pbs, job, "e")
    )
    assert said
    # Its end may take a while on a busy machine.
    assert 5 < int(said[1]) <= int(shown["resources_used"]["walltime"][-2:])


def test_a_job_with_too_much_memory_is_ended(serve: Serve) -> None:
    pbs = serve()
    # What has no end of line stays in the memory of tail.
    script = "(head -c 60000000 /dev/zero; sleep 60) | tail"
    job = pbs.submit("-l", "select=1:ncpus=1:mem=20mb", script=script)
    shown = pbs.wait(job)
    assert (shown["Exit_status"], shown["substate"]) == (-27, 93)
    assert shown["comment"].endswith(" on (pbshead:ncpus=1:mem=20480kb) and exceeded resource mem")
    used = shown["resources_used"]["mem"]
    message = f"=>> PBS: job killed: mem {used} exceeded limit 20480kb\n"
    assert message in output(pbs, job, "e")


def test_a_deleted_job_seems_to_run_on(serve: Serve) -> None:
    pbs = serve(times=PbsTimes(poll=2.0))
    job = pbs.submit(script="touch begun; sleep 60")
    assert is_there(pbs.home / "begun")
    assert pbs.run("qdel", job).returncode == 0
    shown = pbs.show(job)[job]
    assert (shown["job_state"], shown["substate"]) == ("R", 42)
    assert shown["comment"].endswith(f" and terminated by {shown['Job_Owner']}")
    assert "Exit_status" not in shown
    pbs.wait(job)


@pytest.mark.parametrize(
    "script",
    ["sleep 60", "trap 'echo got TERM; exit 42' TERM; sleep 60 & wait", "trap '' TERM; sleep 60"],
)
def test_how_a_deleted_job_has_ended(serve: Serve, script: str) -> None:
    pbs = serve()
    job = pbs.submit(script=f"touch begun; {script}")
    assert is_there(pbs.home / "begun")
    pbs.run("qdel", job)
    shown = pbs.wait(job)
    assert (shown["Exit_status"], shown["substate"]) == (271, 91)
    assert ("got TERM" in output(pbs, job, "o")) == ("got TERM" in script)


def test_a_job_that_ignores_sigterm_is_killed_later(serve: Serve) -> None:
    pbs = serve(times=PbsTimes(poll=0.5, kill_delay=2.0))
    job = pbs.submit(script="trap '' TERM; touch begun; sleep 60")
    assert is_there(pbs.home / "begun")
    begin = time.monotonic()
    pbs.run("qdel", job)
    time.sleep(1)
    assert pbs.show(job)[job]["job_state"] == "R"
    pbs.wait(job)
    assert time.monotonic() - begin > 2


def test_an_end_is_reported_late(serve: Serve) -> None:
    pbs = serve(times=PbsTimes())
    job = pbs.submit(script="touch ended")
    pbs.wait(job)
    assert 1.1 < time.time() - (pbs.home / "ended").stat().st_mtime < 10


def test_qstat_waits_if_another_has_ended_in_the_same_second(serve: Serve) -> None:
    pbs = serve(times=PbsTimes(qstat_pause=1.5))
    time.sleep(1.05 - time.time() % 1)
    begin = time.monotonic()
    pbs.run("qstat")
    assert time.monotonic() - begin < 1.5
    begin = time.monotonic()
    pbs.run("qselect")
    assert time.monotonic() - begin < 1.5
    begin = time.monotonic()
    pbs.run("qstat")
    assert time.monotonic() - begin > 1.5


def test_ports_run_out_without_e(serve: Serve) -> None:
    pbs = serve(times=PbsTimes(reserved_port=1.0), reserved_ports=3)
    jobs = [pbs.submit("-h") for _ in range(4)]
    begin = time.monotonic()
    assert pbs.run("qstat", "-E", *jobs).stderr == ""
    said = pbs.run("qstat", *jobs)
    text = "pbs_iff: cannot connect to host\npbs_iff: all reserved ports in use\n"
    assert text in said.stderr
    assert said.returncode == 0
    assert len(said.stdout.splitlines()) == 6
    assert time.monotonic() - begin > 0.5


@pytest.mark.parametrize("option", ["", "-f"])
def test_the_first_qsub_leaves_a_process_with_its_files(
    serve: Serve, tmp_path: Path, option: str
) -> None:
    pbs = serve(times=PbsTimes(background_qsub=1.0))
    with (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = subprocess.run(
            ["qsub", *filter(None, [option])],
            env=pbs.environment,
            input=b"true",
            stdout=subprocess.PIPE,
            close_fds=False,
            check=True,
        )
    # What it prints is not kept from ending.
    assert said.stdout == b"0.pbshead\n"
    with (tmp_path / "lock").open() as lock:
        if option:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_EX)


def test_block_waits_for_the_exit_code(serve: Serve) -> None:
    pbs = serve()
    said = pbs.run("qsub", "-W", "block=true", script="exit 3")
    assert (said.stdout, said.returncode) == ("0.pbshead\n", 3)


# Faults


def test_a_server_that_is_down(serve: Serve) -> None:
    pbs = serve()
    job = pbs.submit(script="until [ -e go ]; do sleep 0.01; done; exit 7")
    pbs.wait(job, "R")
    with pbs.down():
        said = pbs.run("qstat", "-E", "-x", "-f", "-F", "json", job, job)
        text = "Connection refused\nqstat: cannot connect to server pbshead (errno=15010)\n"
        assert (said.stderr, said.returncode) == (text, 255)
        assert "Jobs" not in json.loads(said.stdout)
        said = pbs.run("qstat", job, job)
        assert (said.stderr, said.returncode) == (text * 2, 255)
        said = pbs.run("qsub")
        assert (said.stderr, said.returncode) == (text.replace("qstat", "qsub"), 162)
        said = pbs.run("qdel", job)
        text = "Connection refused\nCouldn't connect to cluster: pbshead\n"
        assert (said.stderr, said.returncode) == (text, 162)
        (pbs.home / "go").touch()
        time.sleep(0.5)
    assert pbs.wait(job)["Exit_status"] == 7


def test_calls_that_fail(serve: Serve) -> None:
    pbs = serve()
    pbs.busy(2, "qsub")
    assert pbs.run("qselect").returncode == 0
    for _ in range(2):
        assert "Pbs Server is currently too busy" in pbs.run("qsub").stderr
    pbs.drop(1)
    said = pbs.run("qsub")
    text = "Communication failure.\nqsub: cannot connect to server pbshead (errno=15031)\n"
    assert (said.stderr, said.returncode) == (text, 15031 & 255)
    job = pbs.submit()
    pbs.slow(1, 0.5)
    begin = time.monotonic()
    pbs.run("qselect")
    assert time.monotonic() - begin > 0.5
    pbs.break_json(1)
    with pytest.raises(json.JSONDecodeError):
        pbs.show(job)
    pbs.send_raw_bytes(1)
    shown = pbs.run("qstat", "-x", "-f", "-F", "json", job).stdout
    assert b"\xe9\xff" in os.fsencode(shown)
    assert pbs.counts()["qsub"] == 4
    assert pbs.counts()["started"] == 1


def test_history_that_is_not_kept(serve: Serve) -> None:
    pbs = serve()
    pbs.set_history(kept=False)
    job = pbs.submit()
    give_up = time.monotonic() + 20
    while pbs.run("qstat", job).returncode == 0 and time.monotonic() < give_up:
        pass
    said = pbs.run("qstat", "-E", "-x", "-f", "-F", "json", job)
    assert (said.stderr, said.returncode) == (f"qstat: Unknown Job Id {job}\n", 153)


def test_a_job_that_vanishes(serve: Serve) -> None:
    pbs = serve()
    job = pbs.submit(script="echo $$ > pid; sleep 60")
    assert is_there(pbs.home / "pid")
    process = psutil.Process(int((pbs.home / "pid").read_text() or 0))
    pbs.forget(job)
    psutil.wait_procs([process], 10)
    assert not process.is_running()
    assert pbs.run("qstat", "-x", job).returncode == 153


def test_jobs_on_a_node_that_dies(serve: Serve) -> None:
    pbs = serve()
    script = "echo run; [ -e again ] || { touch again; sleep 60; }"
    again = pbs.submit(script=script)
    assert is_there(pbs.home / "again")
    over = pbs.submit("-r", "n", script="touch begun; sleep 60")
    assert is_there(pbs.home / "begun")
    pbs.lose_node("pbshead")
    assert {job["job_state"] for job in pbs.show(again, over).values()} == {"R"}
    assert (
        json.loads(pbs.run("pbsnodes", "-a", "-F", "json").stdout)["nodes"]["pbshead"]["state"]
        == "down"
    )
    pbs.revive_node("pbshead")
    shown = pbs.wait(over)
    assert (shown["Exit_status"], shown["substate"]) == (-4, 93)
    assert pbs.wait(again)["run_count"] == 2
    assert output(pbs, again, "o") == "run\nrun\n"


def test_a_node_that_stays_away_loses_its_jobs(serve: Serve) -> None:
    nodes = [PbsNode(name="first", ncpus=1), PbsNode(name="second", ncpus=1)]
    pbs = serve(nodes=nodes, times=replace(FAST, node_fail_requeue=0.2))
    script = "[ -e again ] || { touch again; sleep 60; }"
    job = pbs.submit(script=script)
    assert is_there(pbs.home / "again")
    pbs.lose_node("first")
    shown = pbs.wait(job)
    assert (shown["exec_host"], shown["run_count"]) == ("second/0", 2)


def test_a_start_that_fails(serve: Serve) -> None:
    pbs = serve()
    pbs.fail_starts(-1)
    assert pbs.wait(pbs.submit())["Exit_status"] == -1
    pbs.fail_starts(None)
    assert pbs.wait(pbs.submit())["Exit_status"] == 0


# Kinds of PBS


def test_what_master_makes_of_values(serve: Serve) -> None:
    pbs = serve()
    values = {"A": "007", "B": "1e999", "C": "123456789012345678901234567890", "D": ".5", "E": ""}
    given = ",".join(f"{name}={value}" for name, value in values.items())
    job = pbs.submit("-h", "-N", "123", "-v", f"{given},F=\udce9")
    said = pbs.run("qstat", "-f", "-F", "json", job).stdout
    assert b'"F":\t"\xe9"' in os.fsencode(said)
    shown = json.loads(said)["Jobs"][job]
    variables = shown["Variable_List"]
    assert shown["Job_Name"] == "123"
    assert [variables[name] for name in values] == [7, None, 1.2345678901234568e29, ".5", ""]


@pytest.mark.parametrize("value", ["inf", "+5", "5.", "nan"])
def test_the_release_prints_what_is_no_json(serve: Serve, value: str) -> None:
    pbs = serve(dialect="release")
    job = pbs.submit("-h", "-v", f"X={value}")
    said = pbs.run("qstat", "-f", "-F", "json", job)
    assert f'"X":{value}' in said.stdout
    with pytest.raises(json.JSONDecodeError):
        json.loads(said.stdout)


def test_the_release(serve: Serve) -> None:
    pbs = serve(dialect="release")
    jobs = [pbs.submit("-h", "-N", "123", "-v", "X=") for _ in range(2)]
    shown = json.loads(pbs.run("qstat", "-f", "-F", "json", *jobs).stdout)["Jobs"]
    assert list(shown) == jobs
    assert shown[jobs[0]]["Job_Name"] == 123
    # An empty value swallows the next variable.
    assert shown[jobs[0]]["Variable_List"]["X"] == ",PBS_O_QUEUE=workq"
    said = pbs.run("qstat", "-f", "-F", "json", jobs[0], "999999", jobs[1])
    assert list(json.loads(said.stdout)["Jobs"]) == jobs
    assert said.returncode == 153
    # Letters outside ASCII are shown byte by byte, which is no text.
    job = pbs.submit("-h", "-v", "X=\u00e9")
    said = pbs.run("qstat", "-f", "-F", "json", job)
    assert b'"X":"^\x03^\xe9"' in os.fsencode(said.stdout)
    dos = pbs.run("qsub", script="true\r\n")
    assert dos.returncode == 0


@pytest.mark.parametrize("dialect", ["master", "release"])
def test_v_exports_only_on_master(serve: Serve, dialect: str) -> None:
    pbs = serve(dialect=dialect)
    job = pbs.submit("-V", script="echo $GIVEN", GIVEN="something")
    pbs.wait(job)
    assert output(pbs, job, "o") == ("something\n" if dialect == "master" else "\n")


# What it is made of


def test_jobs_on_machines_of_their_own(serve: Serve, tmp_path: Path) -> None:
    machine = make_node(1, tmp_path, {})
    prefix = tuple(map(str, machine.command("env")))
    pbs = serve(nodes=[PbsNode(name="node1", command=prefix)])
    job = pbs.submit("-l", "select=1:ncpus=1", script="hostname; echo $PBS_JOBID; exit 9")
    shown = pbs.wait(job)
    assert (shown["Exit_status"], shown["exec_host"]) == (9, "node1/0")
    assert output(pbs, job, "o") == f"node1\n{job}\n"
    job = pbs.submit(script="trap 'echo got TERM' TERM; touch begun; sleep 60 & wait; sleep 60")
    assert is_there(pbs.home / "begun")
    pbs.run("qdel", job)
    assert pbs.wait(job)["Exit_status"] == 271
    assert output(pbs, job, "o") == "got TERM\n"


def test_resources_are_shared_out(serve: Serve) -> None:
    nodes = [PbsNode(name="small", ncpus=2, mem="1gb"), PbsNode(name="gpu", ncpus=2, ngpus=1)]
    pbs = serve(nodes=nodes)
    first = pbs.submit("-l", "select=1:ncpus=2", script="sleep 60")
    second = pbs.submit("-l", "select=1:ngpus=1", script="sleep 60")
    third = pbs.submit("-l", "select=1:ngpus=1")
    fourth = pbs.submit("-l", "select=1:mem=2gb")
    assert pbs.wait(first, "R")["exec_vnode"] == "(small:ncpus=2)"
    assert pbs.wait(second, "R")["exec_vnode"] == "(gpu:ncpus=1:ngpus=1)"
    assert pbs.wait(fourth)["exec_vnode"] == "(gpu:ncpus=1:mem=2097152kb)"
    shown = pbs.show(third)[third]
    reason = "Not Running: Insufficient amount of resource: ngpus (R: 1 A: 0 T: 1)"
    assert (shown["job_state"], shown["comment"]) == ("Q", reason)
    pbs.run("qdel", second)
    assert pbs.wait(third)["Exit_status"] == 0


PLACES = [
    ("1:ncpus=3", ["a"]),
    ("1:ncpus=3+1:ncpus=3", ["a", "b"]),
    ("1:ncpus=3+1:ncpus=3,place=pack", None),
    ("2:ncpus=1", ["a", "a"]),
    ("2:ncpus=1,place=scatter", ["a", "b"]),
    ("3:ncpus=1,place=scatter", None),
    ("1:ncpus=1:host=b", ["b"]),
    ("1:ncpus=1,place=excl", ["b"]),
    ("1:ncpus=1:mem=2gb", ["b"]),
    ("1:ncpus=1:ngpus=1", ["b"]),
]


@pytest.mark.parametrize(("select", "expected"), PLACES)
def test_where_a_job_is_placed(select: str, expected: list[str] | None) -> None:
    """Of two nodes with four processors, the first has another job, if not its processors."""
    small, large = PbsNode(name="a", ncpus=4, mem="1gb"), PbsNode(name="b", ncpus=4, ngpus=1)
    states = [NodeState(small, slots={0}), NodeState(large)]
    given, _, layout = select.partition(",place=")
    resources = {"select": given, **({"place": layout} if layout else {})}
    placement = place(parse_resources(resources, [small, large])[1], states)
    found = None if placement is None else [state.node.name for state, _ in placement]
    assert found == expected


def test_jobs_that_are_a_function(serve: Serve, tmp_path: Path) -> None:
    hook = tmp_path / "hook.py"
    hook.write_text(
        "import pathlib\n"
        "def run(script, variables):\n"
        "    with open(variables['RESULTS'], 'a') as file:\n"
        "        file.write(script)\n"
        "    return 4\n"
    )
    pbs = serve(instant=hook)
    results = tmp_path / "results"
    jobs = [pbs.submit("-v", f"RESULTS={results}", script=f"step {n}\n") for n in range(3)]
    assert {pbs.wait(job)["Exit_status"] for job in jobs} == {4}
    assert results.read_text() == "step 0\nstep 1\nstep 2\n"
    assert pbs.counts()["started"] == 3


def test_all_ends_with_whoever_has_started_it(tmp_path: Path) -> None:
    command = f"sleep {10**7 + os.getpid()}"
    program = (
        "import pathlib, sys, time\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from pbs_stand_in import serve_pbs\n"
        f"with serve_pbs(pathlib.Path({str(tmp_path / 'pbs')!r})) as pbs:\n"
        f"    pbs.run('qsub', script='(setsid {command} &); {command}')\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    give_up = time.monotonic() + 20
    while len(started := _running(command)) < 2 and time.monotonic() < give_up:
        time.sleep(0.01)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert len(started) == 2
    assert psutil.wait_procs(started, 10)[1] == []


def _running(command: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] == command.split()
    ]
