# SPDX-License-Identifier: Apache-2.0
"""What the other tests expect of the Slurm that they run against."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch.slurm import Slurm, need_slurm, serve_slurm
from mortal import remaining

from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with serve_slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def submit(slurm: Slurm, command: str, *options: str) -> str:
    """Submit a job, and return its id."""
    output = f"--output={slurm.directory}/output-%j"
    return slurm.run("sbatch", "--parsable", output, *options, f"--wrap={command}").strip()


def state(slurm: Slurm, job: str) -> str:
    return slurm.run("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}").strip()


def ended(slurm: Slurm, job: str) -> tuple[str, str]:
    """Wait for a job; return its state and what it has printed."""
    going = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")
    slurm.wait_until(lambda: state(slurm, job) not in going, "slurmctld")
    return state(slurm, job), (slurm.directory / f"output-{job}").read_text()


def test_nodes_have_names_and_scratch_of_their_own(slurm: Slurm) -> None:
    command = 'hostname; ls "$TMPDIR"; hostname >"$TMPDIR/$(hostname)"; echo "$TMPDIR"'
    for node in slurm.nodes:
        job = submit(slurm, command, f"--nodelist={node}")
        assert ended(slurm, job) == ("COMPLETED", f"{node}\n{slurm.scratch}\n")
    assert [slurm.scratch_of(node) / node for node in slurm.nodes] == [
        file for node in slurm.nodes for file in slurm.scratch_of(node).iterdir()
    ]
    assert list(slurm.scratch.iterdir()) == []


def test_a_job_is_the_user_and_can_make_sandboxes(slurm: Slurm) -> None:
    sandbox = f"{find_bubblewrap(None).path} --unshare-all --ro-bind / / --proc /proc --dev /dev"
    job = submit(slurm, f"id -u; {sandbox} id -u")
    me = subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout
    assert ended(slurm, job) == ("COMPLETED", me + me)


def test_an_exit_code_is_told(slurm: Slurm) -> None:
    job = submit(slurm, "exit 7")
    assert ended(slurm, job)[0] == "FAILED"
    assert "ExitCode=7:0" in slurm.run("scontrol", "show", "job", job)


def test_a_job_that_takes_more_memory_than_asked_for_is_killed(slurm: Slurm) -> None:
    taking = f"{sys.executable} -c 'import time; taken = bytes(10**8).upper(); time.sleep(60)'"
    job = submit(slurm, taking, "--mem=50")
    how, said = ended(slurm, job)
    assert how == "FAILED"
    assert "exceeded memory limit" in said


def test_a_job_is_given_the_gpus_it_asks_for(slurm: Slurm) -> None:
    job = submit(slurm, 'echo "$CUDA_VISIBLE_DEVICES"', "--gres=gpu:2")
    assert ended(slurm, job) == ("COMPLETED", "0,1\n")


@pytest.mark.parametrize(
    ("option", "answer"),
    [
        ("--partition=closed", "Invalid account or account/partition combination"),
        ("--partition=none", "Invalid partition name specified"),
        ("--partition=short --time=2", "Requested time limit is invalid"),
        ("--mem=5000", "Memory specification can not be satisfied"),
        ("--cpus-per-task=3", "Requested node configuration is not available"),
        ("--gres=gpu:3", "Requested node configuration is not available"),
    ],
)
def test_what_no_node_can_do_is_refused(slurm: Slurm, option: str, answer: str) -> None:
    assert answer in submit(slurm, "true", *option.split())


def test_jobs_outlive_the_controller(slurm: Slurm) -> None:
    gate = slurm.directory / "gate"
    job = submit(slurm, f"until test -e {gate}; do sleep 0.1; done; echo done")
    slurm.wait_until(lambda: state(slurm, job) == "RUNNING", "slurmctld")
    slurm.stop_controller()
    assert "is DOWN" in slurm.run("scontrol", "ping")
    gate.touch()
    slurm.start_controller()
    assert ended(slurm, job) == ("COMPLETED", "done\n")


def test_a_job_can_be_there_although_its_submission_has_failed(slurm: Slurm) -> None:
    with slurm.paused_controller():
        assert "Socket timed out" in submit(slurm, "true", "--job-name=unanswered")
    look = ("squeue", "--noheader", "--states=all", "--name=unanswered", "--format=%i")
    slurm.wait_until(lambda: slurm.run(*look) != "", "slurmctld")
    job = slurm.run(*look).strip()
    assert ended(slurm, job) == ("COMPLETED", "")


def test_a_node_is_lost_with_its_jobs(slurm: Slurm) -> None:
    node = slurm.nodes[0]
    watched = f"{slurm.directory}/slurm.conf"
    job = submit(slurm, f"tail -f {watched}", f"--nodelist={node}", "--no-requeue")
    slurm.wait_until(lambda: state(slurm, job) == "RUNNING", "slurmctld")
    slurm.kill_node(node)
    assert remaining(watched) == []
    assert state(slurm, job) == "RUNNING"
    slurm.report_down(node)
    assert state(slurm, job) == "NODE_FAIL"
    slurm.start_node(node)
    slurm.wait_for_nodes()


def test_no_process_outlives_a_killed_test(tmp_path: Path) -> None:
    need_slurm()  # a process of its own cannot skip
    program = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from batch.slurm import serve_slurm
with serve_slurm(Path({str(tmp_path)!r})) as slurm:
    slurm.run("sbatch", "--wrap", "tail -f {tmp_path}/slurm.conf")
    while not slurm.run("squeue", "--noheader", "--states=running"):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert remaining(str(tmp_path)) == []
