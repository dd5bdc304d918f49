# SPDX-License-Identifier: Apache-2.0
"""Steps as jobs, on a real Slurm and on a stand-in for PBS: what a person sees."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, serve, wait_until
from commands import COMMANDS
from crates import check_what_passes, entities, of_type, refers
from directories import INDEX, INDEX_SEEN, LOOK, reader, seen, tool, workflow
from terminals import CTRL_C, terminal

BUSYBOX = {"DockerRequirement": {"dockerPull": "docker.io/library/busybox:1.36"}}


@pytest.fixture(scope="module", params=["pbs", "slurm"])
def cluster(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Cluster]:
    with serve(request.param, environment) as running:
        yield running


class Runs:
    """Types `cwltool` in a directory that all nodes see."""

    def __init__(self, cluster: Cluster, environment: dict[str, str], directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory
        paths = f"{COMMANDS}:{cluster.environment.get('PATH', environment['PATH'])}"
        self.environment = {**environment, **cluster.environment, "PATH": paths}

    def start(self, *arguments: str | Path, udss: bool = True) -> subprocess.Popen[str]:
        options = ["--udss", "--udss-batch", self.cluster.name] if udss else []
        return subprocess.Popen(
            [COMMANDS / "cwltool", *options, "--outdir", "out", *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, error = process.communicate(timeout=200)
        return subprocess.CompletedProcess(process.args, process.returncode, out, error)

    def wait_for_jobs(self, process: subprocess.Popen[str], jobs: int) -> None:
        """Wait until a run knows the ids of so many jobs, which is a little after the batch system
        has them."""
        self.wait_for_lines(process, f" is {self.cluster.title} job ", jobs)

    def wait_for_lines(self, process: subprocess.Popen[str], words: str, number: int = 1) -> None:
        """Wait until a run has said something so many times. What it says until then is read."""
        assert process.stderr is not None
        known = 0
        patience = threading.Timer(60, process.kill)
        patience.start()
        while known < number:
            line = process.stderr.readline()
            assert line, "it has ended"
            known += words in line
        patience.cancel()

    def write(self, name: str, content: dict[str, Any]) -> str:
        (self.directory / name).write_text(json.dumps({"cwlVersion": "v1.2", **content}))
        return name

    def tool(self, script: str, **fields: Any) -> dict[str, Any]:
        """A tool that runs a script with its word as $0."""
        return {
            "class": "CommandLineTool",
            "hints": BUSYBOX,
            "inputs": {"word": {"type": "string", "inputBinding": {}, "default": "word"}},
            "baseCommand": ["sh", "-c", script],
            "stdout": "out",
            "outputs": {"out": "stdout"},
            **fields,
        }

    def scatter(self, script: str, words: int, **fields: Any) -> tuple[str, str]:
        """A workflow that runs such a tool for some words, and its input."""
        self.write(
            "scatter.cwl",
            {
                "class": "Workflow",
                "requirements": {"ScatterFeatureRequirement": {}},
                "inputs": {"words": "string[]"},
                "outputs": {"all": {"type": "File[]", "outputSource": "work/out"}},
                "steps": {
                    "work": {
                        "run": self.tool(script, **fields),
                        "scatter": "word",
                        "in": {"word": "words"},
                        "out": ["out"],
                    }
                },
            },
        )
        content = {"words": [f"w{number}" for number in range(words)]}
        (self.directory / "words.json").write_text(json.dumps(content))
        return "scatter.cwl", "words.json"

    def outputs(self, done: subprocess.CompletedProcess[str]) -> list[str]:
        found = json.loads(done.stdout)["all"]
        return [Path(file["path"]).read_text() for file in found]

    @property
    def steps(self) -> list[Path]:
        return sorted(self.directory.glob("cwl-udss-runs/*/steps/*"))


@pytest.fixture
def runs(cluster: Cluster, environment: dict[str, str], tmp_path: Path) -> Runs:
    return Runs(cluster, environment, tmp_path)


def test_steps_run_on_nodes(runs: Runs) -> None:
    done = runs.run(*runs.scatter("echo said >&2; cat /proc/sys/kernel/hostname; echo $0", 6))
    assert done.returncode == 0, done.stderr
    assert [text.split()[-1] for text in runs.outputs(done)] == [f"w{n}" for n in range(6)]
    results = [json.loads((step / "result.json").read_text()) for step in runs.steps]
    nodes = {result["node"] for result in results}
    assert nodes <= (runs.cluster.nodes or nodes)
    assert all(result["ending"] == "exited" for result in results)
    assert done.stderr.count("said\n") >= 6
    left = {path.name for step in runs.steps for path in step.iterdir()}
    assert left == {
        "spec.json",
        "job.json",
        "script",
        "log",
        "started.json",
        "stderr",
        "result.json",
    }
    (run,) = runs.directory.glob("cwl-udss-runs/*")
    assert [list((run / name).iterdir()) for name in ("work", "ended", "drivers")] == [[], [], []]


def test_streams_and_figures_of_a_step_on_a_node(runs: Runs) -> None:
    script = (
        "echo out > /dev/stdout; echo err > /dev/stderr; echo out; "
        "busybox dd if=/dev/zero of=/dev/null bs=200M count=2 2>/dev/null"
    )
    done = runs.run(runs.write("tool.cwl", runs.tool(script, stderr="out")))
    assert done.returncode == 0, done.stderr
    assert (runs.directory / "out/out").read_text() == "out\nerr\nout\n"
    (step,) = runs.steps
    result = json.loads((step / "result.json").read_text())
    memory = result["usage"]["memory_bytes"]
    assert 200 <= memory >> 20 <= 210
    assert f"Max memory used: {round(memory / (1 << 20))}MiB" in done.stderr


def test_a_line_of_the_trace_for_each_job(runs: Runs) -> None:
    asked = {"ResourceRequirement": {"coresMin": 1, "ramMin": 300}}
    script = 'echo "$0" >&2; [ "$0" != w1 ]'
    files = runs.scatter(script, 2, hints={**BUSYBOX, **asked})
    done = runs.run("--on-error", "continue", "--udss-trace-table", "trace.tsv", *files)
    assert done.returncode == 1, done.stderr
    head, *lines = (runs.directory / "trace.tsv").read_text().splitlines()
    names = head.split("\t")
    found = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
    first, second = sorted(found, key=lambda line: line["name"])
    assert (first["name"], first["status"], first["exit"]) == ("work (1)", "COMPLETED", "0")
    assert (second["name"], second["status"], second["exit"]) == ("work (2)", "FAILED", "1")
    for line in found:
        assert line["native_id"] in done.stderr
        assert (line["cpus"], line["memory"]) == ("1", "300 MB")
        assert line["submit"] <= line["start"] <= line["complete"]
        assert Path(line["workdir"]) in runs.steps
        assert line["peak_rss"].endswith("B")


def test_a_page_of_a_run_at_any_time(runs: Runs) -> None:
    """While it goes on, when its driver was killed, and when what runs has ended without it."""
    script = "case $0 in w0) ;; *) sleep 8; echo reason >&2; exit 4;; esac"
    process = runs.start(*runs.scatter(script, 2))
    runs.wait_for_jobs(process, 2)
    [run] = runs.directory.glob("cwl-udss-runs/*")
    report = ["cwl-udss", "report", run, "-o", runs.directory / "report.html"]

    def words() -> list[str]:
        done = subprocess.run([COMMANDS / report[0], *report[1:]], check=True, env=runs.environment)
        assert done.returncode == 0
        page = (runs.directory / "report.html").read_text()
        [island] = re.findall(r'id="data">(.*?)</script>', page)
        data = json.loads(island)
        assert "Not ended" in page
        return [data["statuses"][row[3]] for row in sorted(data["rows"], key=lambda row: row[2])]

    def status() -> list[str]:
        command = [COMMANDS / "cwl-udss", "status", run.name]
        lines = subprocess.check_output(
            command, env=runs.environment, cwd=runs.directory, text=True
        ).splitlines()
        return [" ".join(line.split()) for line in lines]

    # What has ended is seen at once; its driver comes for it a moment later.
    runs.wait_for_lines(process, "completed success")
    wait_until(lambda: words() == ["COMPLETED", "RUNNING"])
    first, _, work, *rest = status()
    assert re.search(rf"scatter.cwl: running for \S+, driven by \S+\.{process.pid}$", first)
    assert work.startswith("work 1 1 - - ")
    assert len(rest) == 1
    process.kill()
    process.communicate()
    first, _, work, *_, how = status()
    assert first.endswith("; nothing drives it now")
    assert how.startswith(f"to go on: cd {runs.directory} && cwltool --udss-resume {run} --udss")
    assert words() == ["COMPLETED", "RUNNING"]
    wait_until(lambda: words() == ["COMPLETED", "FAILED"])
    page = (runs.directory / "report.html").read_text()
    assert "What failed first: work (2)" in page
    assert "reason\n</pre>" in page
    assert re.search(r"cwl-udss step /\S+/steps/work_2\.", page)
    check_crate_of_killed(runs, run)


def check_crate_of_killed(runs: Runs, run: Path) -> None:
    crate = runs.directory / "crate"
    command = [COMMANDS / "cwl-udss", "crate", run, crate]
    subprocess.run(command, check=True, env=runs.environment)
    check_what_passes(crate)
    found = entities(crate)
    one, two = (action(found, f"work ({number})") for number in (1, 2))
    assert one["actionStatus"]["@id"].endswith("/CompletedActionStatus")
    assert [found[x]["value"] for x in refers(one, "object")] == ["w0"]
    assert {found[x]["name"] for x in refers(one, "resourceUsage")} >= {"wallTime", "userTime"}
    assert refers(one, "containerImage")
    assert two["error"] == "exited, exit code 4\nreason\n"
    assert found["#run"]["error"].startswith("work (2): ")
    [control] = of_type(found, "ControlAction")
    assert refers(control, "object") == [one["@id"], two["@id"]]


def action(found: dict[str, Any], name: str) -> dict[str, Any]:
    [run] = [x for x in of_type(found, "CreateAction") if x["name"] == f"Run of {name}"]
    return run


def test_a_table_of_jobs(runs: Runs) -> None:
    """On a terminal; who leaves it is told of the jobs there, and finds the log with the run."""
    files = runs.scatter("case $0 in w0) echo of a node >&2;; *) sleep 51;; esac", 3)
    with terminal(
        [
            COMMANDS / "cwltool",
            "--udss",
            "--udss-batch",
            runs.cluster.name,
            "--udss-detach",
            *files,
        ],
        directory=runs.directory,
        environment=runs.environment,
    ) as seen:
        seen.look_for("work 1/3 2 - -")
        assert f" of {runs.cluster.title}: " in seen.lines[-1]
        assert "of a node" not in seen.text
        seen.type(CTRL_C)
        assert seen.look_to_the_end() == 130
        said = next(line for line in seen.lines if "left behind" in line)
        assert said.startswith("cwltool: 2 jobs left behind")
        assert seen.has_cursor
    [log] = runs.directory.glob("cwl-udss-runs/*/cwltool.log")
    assert "of a node\n" in log.read_text()
    command = [COMMANDS / "cwl-udss", "status", log.parent]
    status = subprocess.check_output(command, env=runs.environment, text=True)
    assert re.search(r"^work +1 +2 +- +- ", status, re.MULTILINE)


def test_a_directory_is_on_a_node_what_it_was_on_another(runs: Runs) -> None:
    (runs.directory / "ref.fa").write_text("ACGT")
    empty = {"class": "Directory", "basename": "empty", "listing": []}
    given = {"class": "Directory", "basename": "given", "listing": [empty]}
    whole = {"type": "Directory", "outputBinding": {"glob": "."}}
    overlay = {"listing": ["$(inputs.d)", {"entryname": "d/sub/new", "entry": "new"}]}
    overlaid = {"seen": "stdout", "d": {"type": "Directory", "outputBinding": {"glob": "d"}}}
    lay = reader(
        "cat d/sub/new d/sibling d/inner/up",
        requirements={"InitialWorkDirRequirement": overlay},
        stdout="overlay",
        outputs=overlaid,
    )
    steps = {
        "make": (INDEX, {"ref": "ref"}),
        "use": (reader(LOOK), {"d": "make/d"}),
        "literal": (reader("ls -A $1", stdout="literal.txt"), {"d": "given"}),
        "whole": (tool(r"echo x > $(printf '\377')", outputs={"d": whole}), {}),
        "latin": (reader(r"cat $1/$(printf '\377'); echo $1", stdout="latin"), {"d": "whole/d"}),
        "lay": (lay, {"d": "make/d"}),
    }
    names = {"seen": "use", "literal": "literal", "latin": "latin", "overlay": "lay"}
    document = workflow(
        {"ref": "File", "given": "Directory"},
        steps,
        {name: f"{step}/seen" for name, step in names.items()}
        | {"index": "make/d", "laid": "lay/d"},
        **dict.fromkeys(names, "File"),
    )
    job = {"ref": {"class": "File", "path": "ref.fa"}, "given": given}
    (runs.directory / "job.json").write_text(json.dumps(job))
    done = runs.run(runs.write("workflow.cwl", document), "job.json")
    assert done.returncode == 0, done.stderr
    out = runs.directory / "out"
    assert seen((out / "seen.txt").read_text()) == INDEX_SEEN
    assert (out / "literal.txt").read_text() == "empty\n"
    assert (out / "latin").read_text() == "x\n/var/lib/cwl/stg0/cwl\n"
    assert (out / "overlay").read_text() == "newsibling\nindex\n"
    outputs = json.loads(done.stdout)
    for output in ("index", "laid"):
        place = Path(outputs[output]["path"])
        assert {name: (place / name).read_text().strip() for name in INDEX_SEEN} == INDEX_SEEN
        assert (place / "sub/new").exists() == (output == "laid")
    assert not any((out / "d" / name).is_symlink() for name in ("ref.fa", "sibling", "gone"))
    assert "removed /var/spool/cwl/d/gone: a link that leads nowhere" in done.stderr


def test_a_tool_that_fails_is_named_with_what_runs_it_again(runs: Runs) -> None:
    done = runs.run(runs.write("tool.cwl", runs.tool("echo made >made; exit 3")))
    assert done.returncode == 1
    assert "exit code 3" in done.stderr
    (step,) = runs.steps
    command = re.search(r"by hand: cwl-udss (step [^\s\x1b]+)", done.stderr)
    assert command is not None
    again = subprocess.run(
        [COMMANDS / "cwl-udss", *command[1].split()],
        env=runs.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 3, again.stderr
    assert (step / "again.1/made").read_text() == "made\n"
    assert "Traceback" not in done.stderr + again.stderr


def test_what_a_node_knows_of_a_failure(runs: Runs) -> None:
    missing = {**runs.tool(""), "baseCommand": ["no-such-program"]}
    done = runs.run(runs.write("missing.cwl", missing))
    assert done.returncode == 1
    assert re.search(r"'no-such-program' cannot be executed in .*: no such program", done.stderr)
    done = runs.run(runs.write("tool.cwl", runs.tool("kill -SEGV $$")))
    assert done.returncode == 1
    assert "by signal: SIGSEGV" in done.stderr


def test_the_time_limit_of_a_tool(runs: Runs) -> None:
    limit = {"ToolTimeLimit": {"timelimit": 1}}
    tool = runs.tool("sleep 60", requirements=limit)
    done = runs.run(runs.write("tool.cwl", tool))
    assert done.returncode == 1
    assert "killed: time limit of 1 s" in done.stderr


def test_over_its_memory(runs: Runs) -> None:
    # busybox's dd has one buffer of the block's size; the image has no other program to fill one.
    script = "dd if=/dev/zero of=/dev/null bs=900M count=500"
    memory = {"ResourceRequirement": {"ramMin": 300}}
    done = runs.run(runs.write("tool.cwl", runs.tool(script, requirements=memory)))
    assert done.returncode == 1
    assert f"was killed by {runs.cluster.title}: used" in done.stderr
    assert "of 300 MB asked; raise ramMin" in done.stderr


def test_more_memory_at_the_second_try(runs: Runs) -> None:
    # dd keeps the block that it has filled while it waits for the next, which never comes.
    fill = "dd if=/dev/zero bs=1M count=500"
    hold = "dd of=/dev/null bs=500M iflag=fullblock"
    script = f"({fill}; sleep {runs.cluster.memory_seconds}) | {hold}"
    memory = {"ResourceRequirement": {"ramMin": 300}}
    tool = runs.write("tool.cwl", runs.tool(script, requirements=memory))
    done = runs.run("--udss-retries", "1", "--udss-retry-scale", "4", tool)
    assert done.returncode == 0, done.stderr
    assert "trying again (1 of 1)" in done.stderr


def test_deleted_by_an_operator(runs: Runs) -> None:
    process = runs.start(runs.write("tool.cwl", runs.tool("sleep 100")))
    wait_until(lambda: any(step.joinpath("started.json").exists() for step in runs.steps))
    runs.cluster.delete(*runs.cluster.jobs())
    _, error = process.communicate(timeout=100)
    assert process.returncode == 1
    assert f"was deleted from {runs.cluster.title}" in error
    assert ".:" not in error


def test_a_refusal_is_in_the_batch_systems_own_words(runs: Runs) -> None:
    done = runs.run("--udss-batch-queue", "nosuch", runs.write("tool.cwl", runs.tool("true")))
    assert done.returncode == 1
    assert runs.cluster.unknown_queue in done.stderr
    assert "it was asked by: " in done.stderr
    assert "nosuch" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_step_leaves_the_other_branches_their_time(runs: Runs) -> None:
    batch = {"udss:Batch": {"queue": "nosuch"}, **BUSYBOX}
    steps = {
        "refused": {"run": runs.tool("true", hints=batch), "in": {}, "out": ["out"]},
        "slow": {"run": runs.tool("sleep 3; echo done"), "in": {}, "out": ["out"]},
        "after": {"run": runs.tool("echo after"), "in": {"word": "word"}, "out": ["out"]},
    }
    workflow = {
        "class": "Workflow",
        "$namespaces": {"udss": "urn:cwl-udss:"},
        "inputs": {"word": {"type": "string", "default": "x"}},
        "outputs": {"out": {"type": "File", "outputSource": "slow/out"}},
        "steps": steps,
    }
    done = runs.run("--on-error", "continue", runs.write("branches.cwl", workflow))
    assert done.returncode == 1
    assert runs.cluster.unknown_queue in done.stderr
    assert (runs.directory / "out/out").read_text() == "done\n"


def test_overrides_say_where_a_step_goes(runs: Runs) -> None:
    tool = runs.write("tool.cwl", runs.tool("true"))
    overrides = {
        "$namespaces": {"udss": "urn:cwl-udss:"},
        "cwltool:overrides": {tool: {"requirements": {"udss:Batch": {"queue": "nosuch"}}}},
    }
    (runs.directory / "overrides.json").write_text(json.dumps(overrides))
    done = runs.run("--overrides", "overrides.json", tool)
    assert done.returncode == 1
    assert runs.cluster.unknown_queue in done.stderr


def test_a_job_serves_several_steps(runs: Runs) -> None:
    before = runs.cluster.submitted()
    done = runs.run("--udss-batch-group", "3", *runs.scatter("echo $0", 6))
    assert done.returncode == 0, done.stderr
    assert runs.outputs(done) == [f"w{number}\n" for number in range(6)]
    assert runs.cluster.submitted() == before + 2


def test_what_a_step_is_given_and_leaves(runs: Runs) -> None:
    (runs.directory / "given").write_text("given\n")
    (runs.directory / "changed").write_text("old\n")
    inputs = {"given": {"type": "File"}, "changed": {"type": "File"}}
    listing = [
        {"entryname": "literal", "entry": "literal\n"},
        {"entry": "$(inputs.changed)", "writable": True},
        {"entry": "$(inputs.given)", "entryname": "shown"},
    ]
    script = "cat - literal shown changed; echo new >changed; mkdir d; echo deep >d/f; ln -s f d/l"
    tool = runs.tool(
        script,
        requirements={"InitialWorkDirRequirement": {"listing": listing}},
        inputs=inputs,
        stdin="$(inputs.given.path)",
        outputs={
            "out": "stdout",
            "new": {"type": "File", "outputBinding": {"glob": "changed"}},
            "d": {"type": "Directory", "outputBinding": {"glob": "d"}},
        },
    )
    done = runs.run(runs.write("tool.cwl", tool), "--given", "given", "--changed", "changed")
    assert done.returncode == 0, done.stderr
    out = runs.directory / "out"
    assert (out / "out").read_text() == "given\nliteral\ngiven\nold\n"
    assert (out / "changed").read_text() == "new\n"
    assert (out / "d/l").read_text() == "deep\n"
    assert (runs.directory / "changed").read_text() == "old\n"


def test_a_secret_is_kept_nowhere(runs: Runs) -> None:
    tool = runs.tool(
        'printf %s "$0" | wc -c; exit 1',
        hints={**BUSYBOX, "cwltool:Secrets": {"secrets": ["word"]}},
    )
    namespaces = {"cwltool": "http://commonwl.org/cwltool#"}
    document = runs.write("tool.cwl", {**tool, "$namespaces": namespaces})
    done = runs.run("--enable-ext", document, "--word", "hush-hush")
    assert done.returncode == 1
    assert (runs.steps[0] / "outputs/out").read_text() == "9\n"
    kept = [path for path in (runs.directory / "cwl-udss-runs").rglob("*") if path.is_file()]
    assert kept
    assert not any("hush-hush" in path.read_text() for path in kept)
    assert "hush-hush" not in done.stderr


def test_the_server_is_away_for_a_while(runs: Runs) -> None:
    process = runs.start(*runs.scatter("sleep 4; echo $0", 3))
    wait_until(lambda: len([s for s in runs.steps if s.joinpath("started.json").exists()]) == 3)
    with runs.cluster.down():
        time.sleep(6)
    _, error = process.communicate(timeout=100)
    assert process.returncode == 0, error


def test_a_node_is_lost(runs: Runs) -> None:
    process = runs.start("--udss-retries", "1", runs.write("tool.cwl", runs.tool("sleep 8")))
    wait_until(lambda: any(step.joinpath("started.json").exists() for step in runs.steps))
    (step,) = runs.steps
    node = json.loads((step / "started.json").read_text())["node"]
    runs.cluster.lose_node(node)
    try:
        _, error = process.communicate(timeout=150)
        assert process.returncode == 0, error
        assert "is lost" in error
        assert "trying again (1 of 1)" in error
    finally:
        runs.cluster.revive_node(node)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_deletes_the_jobs(runs: Runs, number: signal.Signals) -> None:
    process = runs.start(*runs.scatter("sleep 100", 3))
    runs.wait_for_jobs(process, 3)
    began = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=100)
    assert time.monotonic() - began < 5
    assert process.returncode == (130 if number == signal.SIGINT else number)
    assert "deleting 3 jobs" in error
    wait_until(lambda: not runs.cluster.jobs())
    assert "Traceback" not in error


def test_a_second_interrupt_does_not_wait(runs: Runs) -> None:
    process = runs.start(*runs.scatter("trap '' TERM; sleep 100", 2))
    wait_until(lambda: len(runs.cluster.jobs()) == 2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=5)
    assert process.returncode == 128 + signal.SIGINT
    assert "--udss-resume" in error
    wait_until(lambda: not runs.cluster.jobs())


@pytest.mark.parametrize("how", ["hangup", "detached", "killed"])
def test_a_later_driver_goes_on(runs: Runs, how: str) -> None:
    workflow = runs.scatter("sleep 6; echo $0", 4)
    before = runs.cluster.submitted()
    process = runs.start(*(["--udss-detach"] if how == "detached" else []), *workflow)
    if how == "killed":
        wait_until(lambda: runs.cluster.submitted() == before + 4)
    else:
        runs.wait_for_jobs(process, 4)
    signals = {"hangup": signal.SIGHUP, "detached": signal.SIGINT, "killed": signal.SIGKILL}
    process.send_signal(signals[how])
    _, error = process.communicate(timeout=10)
    assert (how == "killed") or "4 " in error
    (run,) = runs.directory.glob("cwl-udss-runs/*")
    done = runs.run("--udss-resume", run.name, *workflow)
    assert done.returncode == 0, done.stderr
    assert runs.outputs(done) == [f"w{number}\n" for number in range(4)]
    assert runs.cluster.submitted() == before + 4
    assert list((run / "work").iterdir()) == []


def test_what_has_ended_is_not_run_again(runs: Runs) -> None:
    script = "test $0 != w2 || test -e /tmp/none || { sleep 3; exit 5; }; echo $0"
    workflow = runs.scatter(script, 4)
    before = runs.cluster.submitted()
    failed = runs.run(*workflow)
    assert failed.returncode == 1
    (run,) = runs.directory.glob("cwl-udss-runs/*")
    again = runs.run("--udss-resume", run, *workflow)
    assert again.returncode == 1
    assert again.stderr.count("result of an earlier run") == 3
    assert runs.cluster.submitted() == before + 5


def test_a_cache_finds_the_jobs_of_a_dead_driver(runs: Runs) -> None:
    workflow = runs.scatter("sleep 6; echo $0", 3)
    before = runs.cluster.submitted()
    process = runs.start("--cachedir", "cache", *workflow)
    wait_until(lambda: runs.cluster.submitted() == before + 3)
    process.kill()
    process.communicate()
    done = runs.run("--cachedir", "cache", *workflow)
    assert done.returncode == 0, done.stderr
    assert runs.outputs(done) == [f"w{number}\n" for number in range(3)]
    again = runs.run("--cachedir", "cache", *workflow)
    assert again.stderr.count("result from the cache") == 3
    assert runs.cluster.submitted() == before + 3


def test_no_such_run(runs: Runs) -> None:
    done = runs.run("--udss-resume", "none", runs.write("tool.cwl", runs.tool("true")))
    assert done.returncode == 1
    assert "there is no run" in done.stderr


def without_commands(directory: Path) -> Path:
    """A directory for PATH in which there is no batch system, but what starts the tests'."""
    programs = directory / "programs"
    programs.mkdir()
    (programs / "env").symlink_to("/usr/bin/env")
    return programs


def test_no_such_batch_system_here(runs: Runs, tmp_path: Path) -> None:
    runs.environment["PATH"] = f"{COMMANDS}:{without_commands(tmp_path)}"
    done = runs.run(runs.write("tool.cwl", runs.tool("true")))
    assert done.returncode == 1
    assert "on PATH" in done.stderr
    assert "Traceback" not in done.stderr
    assert "cwl-udss-runs" not in os.listdir(runs.directory)


def doctor(runs: Runs, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMANDS / "cwl-udss", "doctor", "--batch", runs.cluster.name, *options],
        cwd=runs.directory,
        env=runs.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_doctor_asks_a_node(runs: Runs) -> None:
    done = doctor(runs)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.search(r"ran on (\S+),", done.stdout)
    assert ran is not None
    assert ran[1] in (runs.cluster.nodes or ran[1])
    assert "ok    sandbox: " in done.stdout
    assert list(runs.directory.iterdir()) == []


def test_doctor_tells_why_there_is_no_job(runs: Runs) -> None:
    done = doctor(runs, "--udss-batch-queue", "nosuch")
    assert done.returncode == 1
    assert runs.cluster.unknown_queue in done.stderr
    assert "Traceback" not in done.stderr
