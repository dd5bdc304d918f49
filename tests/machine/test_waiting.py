# SPDX-License-Identifier: Apache-2.0
"""Every wait of the program: a sentence says what is waited for, and a signal ends it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import COMMANDS

from cwl_udss.batch.backend import StepRequest
from cwl_udss.batch.jobs import BatchSteps, Wish
from cwl_udss.batch.poller import JobEnd
from cwl_udss.batch.run_directory import Entry, RunDirectory
from cwl_udss.batch.systems.system import BatchError, Placement, Resources
from cwl_udss.filesystems.leases import turn
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.store.store import Store
from cwl_udss.machine import waiting
from cwl_udss.machine.waiting import Telling, told, told_each
from cwl_udss.steps.image import StepImage
from cwl_udss.steps.spec import NodeSettings, StepEnding, StepResult, StepSpec

IMAGE = "docker.io/library/busybox:1.36"
# The programs themselves, less patient.
IMPATIENT = """
import sys
from cwl_udss import cli; from cwl_udss.machine import waiting
waiting.FIRST_SECONDS = 1.0
sys.argv[0] = sys.argv.pop(1)
cli.cwltool() if sys.argv[0] == "cwltool" else cli.main()
"""
LONGEST_END_SECONDS = 5.0
PTRACE_SEIZE = 0x4206  # linux/ptrace.h


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a wait is made to happen."""

    directory: Path
    environment: dict[str, str]
    address: str
    """Of a server that accepts connections."""
    cleanup: contextlib.ExitStack

    def program(self, name: str, script: str) -> Path:
        """Put a program on PATH, before all others."""
        path = self.directory / "programs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def tool(self, image: str = IMAGE, **fields: Any) -> str:
        content = {
            "cwlVersion": "v1.2",
            "class": "CommandLineTool",
            "hints": {"DockerRequirement": {"dockerPull": image}},
            "inputs": [],
            "outputs": [],
            "baseCommand": "true",
            **fields,
        }
        (self.directory / "tool.cwl").write_text(json.dumps(content))
        return "tool.cwl"

    def registries(self) -> str:
        """Have an image that comes from the server, and return its name."""
        configuration = self.directory / "registries.conf"
        configuration.write_text(f'[[registry]]\nlocation = "{self.address}"\ninsecure = true\n')
        self.environment["CONTAINERS_REGISTRIES_CONF"] = str(configuration)
        return f"{self.address}/image:1"

    def own_store(self, **options: str) -> None:
        """Have images made anew, with options of the environment."""
        store = {"CWL_UDSS_STORE": str(self.directory / "store")}
        self.environment.update(store | options)


def silent_registry(place: Place) -> list[str]:
    return ["cwltool", "--udss", place.tool(place.registries())]


def dripping_registry(place: Place) -> list[str]:
    return ["cwl-udss", "images", "pull", place.registries()]


def held_lease(place: Place) -> list[str]:
    place.own_store()
    store = Store(Path(place.environment["CWL_UDSS_STORE"]))
    lease = store.lease(f"{IMAGE} {this_platform()}")
    place.cleanup.enter_context(turn(lease, lambda: False, "pull"))
    return ["cwltool", "--udss", place.tool()]


def hanging_mount(place: Place) -> list[str]:
    place.own_store(CWL_UDSS_FORMAT="squashfs")
    place.program("squashfuse_ll", "sleep 30")
    return ["cwltool", "--udss", place.tool()]


def hanging_unpacking(place: Place) -> list[str]:
    place.own_store(CWL_UDSS_FORMAT="squashfs", CWL_UDSS_SCRATCH=str(place.directory))
    place.program("squashfuse_ll", "exit 1")
    place.program("unsquashfs", "exec sleep 30")
    return ["cwltool", "--udss", place.tool()]


def other_unpacking(place: Place) -> list[str]:
    arguments = hanging_unpacking(place)
    other = subprocess.Popen(
        [COMMANDS / "cwltool", *arguments[1:]],
        cwd=place.directory,
        env=place.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    place.cleanup.callback(other.communicate)
    place.cleanup.callback(other.terminate)
    assert other.stderr is not None
    assert any("unpacking" in line for line in other.stderr)
    return arguments


def credential_helper(place: Place) -> list[str]:
    place.program("docker-credential-slow", "exec sleep 30")
    helpers = {"credHelpers": {place.address: "slow"}}
    (place.directory / "auth.json").write_text(json.dumps(helpers))
    place.environment["REGISTRY_AUTH_FILE"] = str(place.directory / "auth.json")
    return ["cwltool", "--udss", place.tool(place.registries())]


def silent_document(place: Place) -> list[str]:
    return ["cwltool", "--udss", f"http://{place.address}/tool.cwl"]


def slow_disk(place: Place) -> list[str]:
    place.own_store()
    slow = (
        "import time\n"
        "from cwl_udss.images.store.store import Store\n"
        "Store.publish = lambda *arguments: time.sleep(30)\n"
    )
    (place.directory / "sitecustomize.py").write_text(slow)
    place.environment["PYTHONPATH"] = str(place.directory)
    return ["cwltool", "--udss", place.tool()]


def stuck_process(place: Place) -> list[str]:
    """A process that has been killed, and has not ended: as in a filesystem that hangs, one that is
    traced by somebody who does not ask (ptrace(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    is_over = threading.Event()
    failures = []

    def trace() -> None:
        while not (found := sleeping("84")):
            if is_over.wait(0.01):
                return
        if libc.ptrace(PTRACE_SEIZE, found[0].pid, None, None):
            failures.append(os.strerror(ctypes.get_errno()))
        is_over.wait()

    def finish() -> None:
        is_over.set()
        thread.join()
        assert not failures

    thread = threading.Thread(target=trace)
    thread.start()
    place.cleanup.callback(finish)
    return ["cwltool", "--udss", place.tool(baseCommand=["sh", "-c", "sleep 84 & sleep 2"])]


def endless_javascript(place: Place) -> list[str]:
    javascript = {"InlineJavascriptRequirement": {}}
    tool = place.tool(requirements=javascript, arguments=["${ for (;;) {} }"])
    return ["cwltool", "--udss", "--eval-timeout", "60", tool]


def batch_system(place: Place, **scripts: str) -> list[str]:
    """A Slurm that is none: commands that print or sleep."""
    defaults = {"sbatch": "echo 1", "squeue": "echo '1|PENDING||JobHeldUser'", "scancel": "exit 0"}
    for name, script in {**defaults, **scripts}.items():
        place.program(name, script)
    return ["cwltool", "--udss", "--udss-batch", "slurm"]


def held_job(place: Place) -> list[str]:
    return [*batch_system(place), place.tool()]


def submission(place: Place) -> list[str]:
    return [*batch_system(place, sbatch="exec sleep 30"), place.tool()]


def query(place: Place) -> list[str]:
    return [*batch_system(place, squeue="exec sleep 30", scancel="exec sleep 30"), place.tool()]


def sleeping(seconds: str) -> list[psutil.Process]:
    processes = psutil.process_iter(["cmdline"])
    command = ["sleep", seconds]
    return [process for process in processes if (process.info["cmdline"] or [])[-2:] == command]


def submission_rate(place: Place) -> list[str]:
    tool = place.tool()
    steps = {name: {"run": tool, "in": [], "out": []} for name in ("a", "b")}
    workflow = {"class": "Workflow", "inputs": [], "outputs": [], "steps": steps}
    (place.directory / "two.cwl").write_text(json.dumps({"cwlVersion": "v1.2", **workflow}))
    return [*batch_system(place), "--udss-batch-rate", "0.01", "two.cwl"]


def examined_node(place: Place) -> list[str]:
    batch_system(place, scancel=f"touch {place.directory}/deleted")
    return ["cwl-udss", "doctor", "--batch", "slurm"]


def held_allocation(place: Place) -> list[str]:
    return [*batch_system(place), "--udss-pilot", place.tool()]


def silent_workers(place: Place) -> list[str]:
    slow = "import sys, time\nif 'cwl_udss.batch.pilots.worker' in sys.orig_argv: time.sleep(30)\n"
    (place.directory / "sitecustomize.py").write_text(slow)
    place.environment["PYTHONPATH"] = str(place.directory)
    return ["cwltool", "--udss", "--udss-batch", "local", "--udss-pilot", place.tool()]


def slow_interchange(place: Place) -> list[str]:
    arguments = silent_workers(place)
    code = (place.directory / "sitecustomize.py").read_text()
    code = code.replace("pilots.worker", "pilots.interchange")
    (place.directory / "sitecustomize.py").write_text(code)
    return arguments


@dataclass(frozen=True, kw_only=True)
class Wait:
    """One of the program's."""

    begin: Callable[[Place], list[str]]
    sentence: str
    number: int = signal.SIGTERM
    """The signal."""
    code: int = signal.SIGTERM
    says: bytes = b""
    """What the server says, all at once; then it says a byte a second."""


DRIP = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n"
WAITS = {
    "a registry that never answers": Wait(
        begin=silent_registry, sentence="for 127.0.0.1:PORT to answer for image"
    ),
    "a registry that drips": Wait(
        begin=dripping_registry,
        says=DRIP,
        sentence="for 127.0.0.1:PORT to answer for image",
        code=128 + signal.SIGTERM,
    ),
    "a lease": Wait(begin=held_lease, sentence=f"to pull the image {IMAGE}"),
    "a mount": Wait(begin=hanging_mount, sentence="for the mount of "),
    "an image being unpacked": Wait(begin=hanging_unpacking, sentence="is unpacked"),
    "an image that another unpacks": Wait(
        begin=other_unpacking, sentence="for another process of this node, which makes "
    ),
    "a credential helper": Wait(
        begin=credential_helper, sentence="for docker-credential-slow to say who you are"
    ),
    "a document": Wait(
        begin=silent_document, sentence="for an answer to http://127.0.0.1:PORT/tool.cwl"
    ),
    "an image being made": Wait(
        begin=slow_disk, sentence=f"until {IMAGE} is made: 1.0 MB of its layers were read"
    ),
    "an image being written": Wait(begin=slow_disk, sentence=f"until {IMAGE} is on the disk"),
    "a process that does not end": Wait(begin=stuck_process, sentence="and its children to end"),
    "JavaScript": Wait(begin=endless_javascript, sentence="for a JavaScript expression"),
    "JavaScript, interrupted": Wait(
        begin=endless_javascript,
        sentence="for a JavaScript expression",
        number=signal.SIGINT,
        code=130,
    ),
    "a job": Wait(begin=held_job, sentence="for 1 job of Slurm: 1 waiting (PENDING, JobHeldUser)"),
    "a submission": Wait(begin=submission, sentence="for an answer of sbatch"),
    "a query": Wait(begin=query, sentence="for an answer of squeue"),
    "the next submission": Wait(begin=submission_rate, sentence="for its turn: "),
    "a node that is examined": Wait(
        begin=examined_node, sentence="for job 1: PENDING, JobHeldUser", code=130
    ),
    "an allocation": Wait(
        begin=held_allocation,
        sentence="for 1 step in allocations of Slurm: 1 waiting (PENDING, JobHeldUser)",
    ),
    "workers": Wait(begin=silent_workers, sentence="whose workers have not called yet"),
    "the interchange": Wait(begin=slow_interchange, sentence="for Parsl's interchange to start"),
}


@contextlib.contextmanager
def slow_server(says: bytes) -> Iterator[str]:
    """Accept connections, and answer slowly. Gives the address."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    threading.Thread(target=answer, args=(server.accept()[0],)).start()

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                # A client that tries TLS first gets an answer that is none.
                if says and connection.recv(1, socket.MSG_PEEK) == b"\x16":
                    return
                connection.sendall(says)
                while not stop.wait(1.0):
                    connection.sendall(b"x" if says else b"")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_is_told_and_ends_with_a_signal(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    wait = WAITS[name]
    with slow_server(wait.says) as address, contextlib.ExitStack() as cleanup:
        paths = f"{tmp_path / 'programs'}:{environment['PATH']}"
        place = Place(
            directory=tmp_path,
            environment={**environment, "PATH": paths},
            address=address,
            cleanup=cleanup,
        )
        process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, *wait.begin(place)],
            cwd=tmp_path,
            env=place.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        patience = threading.Timer(40, process.kill)
        patience.start()
        said = read_until(process, wait.sentence.replace("PORT", address.rpartition(":")[2]))
        patience.cancel()
        began = time.monotonic()
        process.send_signal(wait.number)
        _, rest = process.communicate(timeout=30)
        assert time.monotonic() - began < LONGEST_END_SECONDS, said + rest
        assert process.returncode == wait.code, said + rest
        assert "Traceback" not in rest


def read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    said = ""
    while f"{words}" not in said.rpartition("still waiting, after ")[2]:
        line = process.stderr.readline()
        assert line, f"it has ended, or not said {words!r}:\n{said}"
        said += line
    return said


def test_the_job_of_an_examination_is_deleted(environment: dict[str, str], tmp_path: Path) -> None:
    """Also by SIGTERM."""
    place = Place(
        directory=tmp_path,
        environment={**environment, "PATH": f"{tmp_path / 'programs'}:{environment['PATH']}"},
        address="",
        cleanup=contextlib.ExitStack(),
    )
    process = subprocess.Popen(
        [COMMANDS / "cwl-udss", *examined_node(place)[1:]],
        cwd=tmp_path,
        env=place.environment,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"was submitted" in process.stdout.readline()
    process.terminate()
    process.communicate(timeout=10)
    assert (tmp_path / "deleted").exists()


class EndedElsewhere:
    """A backend whose steps end at once, and leave a file that never comes here."""

    name = "elsewhere"
    outlives_driver = True
    job = ""

    def submit(self, entry: Entry, request: StepRequest) -> EndedElsewhere:
        return self

    def wait(self) -> JobEnd:
        result = StepResult(
            ending=StepEnding.EXITED,
            exit_code=0,
            node="node7",
            started=0.0,
            ended=1.0,
            usage=None,
            outputs={"made": 3},
        )
        return JobEnd(result=result, status=None)

    def running(self, entry: Entry, name: str) -> None:
        return None

    def stop(self) -> None:
        pass

    def remaining(self) -> list[str]:
        return []

    def cause_in_log(self, log: str) -> None:
        return None


def test_a_file_from_another_node_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.2)
    monkeypatch.setattr("cwl_udss.batch.jobs.SHARED_NEWS_SECONDS", 2.0)
    run = RunDirectory(tmp_path / "run")
    (tmp_path / "staged").mkdir()
    resources = Resources(cores=1, memory=None, walltime=None)
    wish = Wish(
        resources=resources, placement=Placement(), name_prefix="", retries=0, retry_scale=1.0
    )
    with run.driven(alone=True, keeps_work=lambda: False), pytest.raises(BatchError) as raised:
        BatchSteps(EndedElsewhere(), run).run(
            spec(),
            tmp_path / "staged",
            None,
            wish,
            is_secret=False,
            is_success=lambda code: code == 0,
            temporary_codes=(),
        )
    assert "is not all here" in str(raised.value)
    assert "until all that node7 has left in" in caplog.text


def spec() -> StepSpec:
    return StepSpec(
        name="step",
        image=StepImage(digest="image"),
        command=("true",),
        environment={},
        output_directory="/out",
        binds=(),
        directories=(),
        network=False,
        shared_memory_bytes=None,
        cores=None,
        stdin=None,
        stdout=None,
        stderr=None,
        time_limit=None,
        needed_bytes=0,
        settings=NodeSettings(
            store="",
            library=(),
            scratch=None,
            scratch_images=0,
            runtime="auto",
            accept=(),
            required={},
            bwrap=None,
        ),
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
def test_it_is_said_again_at_growing_intervals(caplog: pytest.LogCaptureFixture) -> None:
    began = time.time()
    with told("for what never comes"):
        time.sleep(1.2)
    with told("for what comes at once"):
        pass
    times = [record.created - began for record in caplog.records]
    assert len(times) == 3
    assert [time for time in times if time > 0.2] == times
    assert times[2] - times[1] > times[1] - times[0]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert "comes at once" not in caplog.text


@pytest.mark.usefixtures("impatient")
def test_news_begin_it_anew(caplog: pytest.LogCaptureFixture) -> None:
    telling = Telling(lambda: "for more")
    for has_news in (True,) * 8:
        telling.note(is_waiting=True, has_news=has_news)
        time.sleep(0.1)
    assert caplog.text == ""
    telling.note(is_waiting=True, has_news=False)
    time.sleep(0.5)
    telling.close()
    assert "for more" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_only_the_wait_for_an_item_counts(caplog: pytest.LogCaptureFixture) -> None:
    def slow() -> Iterator[int]:
        yield 1
        time.sleep(0.5)
        yield 2

    given = []
    for item in told_each(slow(), lambda: f"for the one after {given}"):
        given.append(item)
        time.sleep(0.5)
    assert given == [1, 2]
    assert "for the one after [1]" in caplog.text
    assert "[1, 2]" not in caplog.text


def test_a_forked_process_tells_too(tmp_path: Path) -> None:
    code = (
        "import logging, os, time\nfrom cwl_udss.machine import waiting\n"
        "logging.basicConfig()\nwaiting.FIRST_SECONDS = 0.2\n"
        "with waiting.told('for the child'):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        with waiting.told('for the end'): time.sleep(1)\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "for the end" in done.stderr
    assert "for the child" in done.stderr


STUCK = """
import contextlib, signal, sys, threading, time
from cwl_udss.machine import waiting
signal.signal(signal.SIGTERM, lambda number, frame: None)
waiting.END_SECONDS = 0.5
with contextlib.ExitStack() as stack:
    if {is_ended}:
        stack.enter_context(waiting.ended_by_signals({{signal.SIGTERM: 15}}, "program"))
    print("ready", flush=True)
    lock = threading.Lock()
    lock.acquire()
    time.sleep(2)
"""


@pytest.mark.parametrize("is_ended", [True, False])
def test_what_nothing_can_interrupt_is_ended(is_ended: bool) -> None:
    """Here by a handler that does nothing, as one has that never gets to run."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK.format(is_ended=is_ended)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    _, error = process.communicate(timeout=10)
    assert process.returncode == (15 if is_ended else 0)
    assert ("program: ended" in error) == is_ended
