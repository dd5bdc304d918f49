# SPDX-License-Identifier: Apache-2.0
"""What `cwltool --udss` promises to those who write and run workflows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from commands import COMMANDS, Command

DEBIAN = "docker.io/library/debian:stable-slim"
TOOL = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "requirements": {
        "DockerRequirement": {"dockerPull": DEBIAN},
        "InlineJavascriptRequirement": {},
    },
    "inputs": {},
    "outputs": {"out": "stdout"},
    "stdout": "out.txt",
}


def write_tool(path: Path, script: str, **fields: Any) -> Path:
    """A tool that runs a shell script in Debian; `requirements` are added to those it has."""
    requirements = {**TOOL["requirements"], **fields.pop("requirements", {})}
    tool = {**TOOL, "baseCommand": ["sh", "-c", script], "requirements": requirements, **fields}
    path.write_text(json.dumps(tool))
    return path


@pytest.fixture
def run_tool(run_command: Command, tmp_path: Path) -> Any:
    """Run such a tool; return the process and what it wrote to its standard output."""

    def run(
        script: str, *options: str, job: dict[str, Any] | None = None, **fields: Any
    ) -> tuple[subprocess.CompletedProcess[str], str]:
        tool = write_tool(tmp_path / "tool.cwl", script, **fields)
        (tmp_path / "job.json").write_text(json.dumps(job or {}))
        done = run_command("cwltool", "--udss", *options, tool, tmp_path / "job.json")
        out = tmp_path / "out.txt"
        return done, out.read_text() if out.exists() else ""

    return run


def plain(text: str) -> str:
    """A log without colours and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def without_version(text: str) -> list[str]:
    return [line for line in text.splitlines() if not re.search(r"INFO.* 3\.\d", line)]


def test_version_names_both(run_command: Command) -> None:
    done = run_command("cwltool", "--version")
    assert re.fullmatch(r".*cwltool 3\.\S+ with cwl-udss 0\.\S+\n", done.stdout)
    for command in (("cwl-udss", "--version"), ("cwltool", "--udss", "--version")):
        assert re.fullmatch(r"cwl-udss 0\.\S+ with cwltool 3\.\S+\n", run_command(*command).stdout)


def test_each_is_called_by_its_own_version_in_logs(run_command: Command, tmp_path: Path) -> None:
    tool = write_tool(tmp_path / "tool.cwl", "true")
    run = run_command("cwltool", "--udss", tool)
    pull = run_command("cwl-udss", "images", "pull", tool)
    for log in (run.stderr, pull.stderr):
        assert re.search(r"^(INFO )?cwl-udss 0\.\S+ with cwltool 3\.\S+ ", plain(log))


def test_help_has_our_options_beside_cwltools(run_command: Command) -> None:
    text = run_command("cwltool", "--help").stdout
    assert all(option in text for option in ("--udss ", "--udss-store", "--singularity"))


def test_without_udss_it_is_cwltool(run_command: Command, tmp_path: Path) -> None:
    tool = write_tool(tmp_path / "tool.cwl", "echo here; exit 3")
    content = json.loads(tool.read_text())
    del content["requirements"]["DockerRequirement"]
    tool.write_text(json.dumps(content))
    original = ["python", "-c", "import sys, cwltool.main; sys.exit(cwltool.main.run())"]
    for options in ([], ["--no-such-option"], ["--print-deps"], ["--validate"]):
        ours = run_command("cwltool", *options, tool)
        theirs = run_command(original[0], *original[1:], *options, tool)
        assert ours.returncode == theirs.returncode
        # --validate logs to standard output, and the first line of the log is the version.
        assert without_version(ours.stdout) == without_version(theirs.stdout)


@pytest.mark.parametrize("kind", ["requirements", "hints"])
def test_a_step_runs_in_its_image_required_or_hinted(
    run_command: Command, tmp_path: Path, kind: str
) -> None:
    tool = {**TOOL, "baseCommand": ["cat", "/etc/os-release"], kind: TOOL["requirements"]}
    if kind == "hints":
        del tool["requirements"]
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    done = run_command("cwltool", "--udss", "tool.cwl")
    assert done.returncode == 0, done.stderr
    assert "bookworm" in (tmp_path / "out.txt").read_text()


def test_what_a_step_sees(run_tool: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    done, out = run_tool(
        f"pwd; echo $HOME $TMPDIR; ls {tmp_path}/secret 2>&1; env | grep -c CANARY; "
        "touch /etc/x /usr/x /var/x 2>&1 | wc -l; touch here $TMPDIR/x /tmp/y && echo wrote"
    )
    assert done.returncode == 0, done.stderr
    directory, home_and_tmp, secret, canaries, refusals, wrote = out.splitlines()
    assert home_and_tmp == f"{directory} /tmp"
    assert "No such file" in secret
    assert (canaries, refusals, wrote) == ("0", "3", "wrote")


def test_a_long_array_of_files(run_tool: Any, tmp_path: Path) -> None:
    """Each is bound and named on the command line, in time that grows with their number only."""
    number = 500
    for n in range(number):
        (tmp_path / f"input{n}").write_text(f"{n}\n")
    files = [{"class": "File", "location": f"input{n}"} for n in range(number)]
    binding = {"inputBinding": {"prefix": "--in", "position": 1}}
    done, out = run_tool(
        'for word; do case $word in --in) ;; *) cat "$word"; esac; done; echo $#',
        job={"files": files},
        inputs={"files": {"type": {"type": "array", "items": "File", **binding}}},
    )
    assert done.returncode == 0, done.stderr
    assert out.split() == [*map(str, range(number)), str(2 * number - 1)]


def test_inputs_are_read_only_and_stay_as_they_are(run_tool: Any, tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("original")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/file").write_text("original")
    done, out = run_tool(
        'echo changed > "$0"; rm -f "$0"; echo changed > "$1/file"; touch "$1/new"; cat "$0" $1/*',
        inputs={
            "file": {"type": "File", "inputBinding": {"position": 1}},
            "directory": {"type": "Directory", "inputBinding": {"position": 2}},
        },
        job={
            "file": {"class": "File", "path": "input.txt"},
            "directory": {"class": "Directory", "path": "directory"},
        },
    )
    assert done.returncode == 0, done.stderr
    assert out == "originaloriginal"
    assert os.listdir(tmp_path / "directory") == ["file"]


@pytest.mark.parametrize(
    "name", ["a:b", "a,b", "a b", "ä", "$HOME", "a'b", 'a"b', "--bind"], ids=lambda name: name
)
def test_names_of_inputs(run_tool: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("content")
    done, out = run_tool(
        'cat -- "$0"',
        "--relax-path-checks",
        inputs={"file": {"type": "File", "inputBinding": {"position": 1}}},
        job={"file": {"class": "File", "path": name}},
    )
    assert done.returncode == 0, done.stderr
    assert out == "content"


@pytest.mark.parametrize(
    ("code", "fields", "expected"),
    [
        (0, {}, 0),
        (1, {}, 1),
        (7, {"successCodes": [7]}, 0),
        (0, {"permanentFailCodes": [0]}, 1),
    ],
)
def test_exit_codes(run_tool: Any, code: int, fields: dict[str, Any], expected: int) -> None:
    done, _ = run_tool(f"exit {code}", **fields)
    assert done.returncode == expected


def test_standard_streams(run_tool: Any, tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("from a file")
    done, out = run_tool(
        "cat; echo complaint >&2",
        inputs={"file": "File"},
        job={"file": {"class": "File", "path": "input.txt"}},
        stdin="$(inputs.file.path)",
        stderr="err.txt",
        outputs={"out": "stdout", "err": "stderr"},
    )
    assert done.returncode == 0, done.stderr
    assert out == "from a file"
    assert (tmp_path / "err.txt").read_text() == "complaint\n"


def test_streams_opened_by_name_are_added_to(run_tool: Any, tmp_path: Path) -> None:
    """As in a container of Docker's: many scripts print their errors so."""
    done, out = run_tool(
        "echo header; echo body > /dev/stdout; echo tail; "
        "echo first > /dev/stderr; echo second | tee /dev/stderr >/dev/null",
        stderr="err.txt",
        outputs={"out": "stdout", "err": "stderr"},
    )
    assert done.returncode == 0, done.stderr
    assert out == "header\nbody\ntail\n"
    assert (tmp_path / "err.txt").read_text() == "first\nsecond\n"


def test_one_file_for_both_streams_has_all_in_order(run_tool: Any) -> None:
    done, out = run_tool(
        "for i in 1 2 3; do echo out $i; echo err $i >&2; done",
        stderr="out.txt",
        outputs={"out": "stdout", "err": "stderr"},
    )
    assert done.returncode == 0, done.stderr
    assert out == "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n"


def test_the_log_of_the_run_is_out_of_reach(environment: dict[str, str], tmp_path: Path) -> None:
    script = "cat /proc/self/fd/2; cat /dev/stderr; echo emptied > /dev/stderr"
    tool = write_tool(tmp_path / "tool.cwl", script)
    old = "a line of last week\n"
    (tmp_path / "log").write_text(old)
    with (tmp_path / "log").open("a") as log:
        subprocess.run(
            [COMMANDS / "cwltool", "--udss", tool],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
            check=True,
            timeout=60,
        )
    assert (tmp_path / "out.txt").read_text() == ""
    said = (tmp_path / "log").read_text()
    assert said.startswith(old)
    assert "emptied\n" in said
    assert "completed success" in plain(said)


def test_the_log_says_how_much_memory_a_step_had(run_tool: Any) -> None:
    done, _ = run_tool("dd if=/dev/zero of=/dev/null bs=300M count=2")
    found = re.search(r"\[job tool.cwl\] Max memory used: (\d+)MiB", plain(done.stderr))
    assert found is not None, done.stderr
    assert 300 <= int(found[1]) <= 315


@pytest.mark.parametrize("directory", ["/work", "/usr/share/new/deep", "/tmp/below", "/opt"])
def test_docker_output_directory(run_tool: Any, tmp_path: Path, directory: str) -> None:
    docker = {"dockerPull": DEBIAN, "dockerOutputDirectory": directory}
    done, out = run_tool(
        "pwd; echo x > made; ls /usr/bin/env",
        requirements={"DockerRequirement": docker},
        outputs={"out": "stdout", "made": {"type": "File", "outputBinding": {"glob": "made"}}},
    )
    assert done.returncode == 0, done.stderr
    assert out == f"{directory}\n/usr/bin/env\n"
    assert (tmp_path / "made").read_text() == "x\n"


def test_initial_work_directory(run_tool: Any, tmp_path: Path) -> None:
    (tmp_path / "read").write_text("read\n")
    (tmp_path / "write").write_text("write\n")
    listing = [
        {"entryname": "made.txt", "entry": "made\n"},
        {"entryname": "sub/read", "entry": "$(inputs.read)"},
        {"entryname": "write", "entry": "$(inputs.write)", "writable": True},
        {"entryname": "/etc/tool/config", "entry": "absolute\n"},
    ]
    done, out = run_tool(
        "cat made.txt sub/read write /etc/tool/config; echo more >> write; echo x >> sub/read",
        requirements={"InitialWorkDirRequirement": {"listing": listing}},
        inputs={"read": "File", "write": "File"},
        job={
            "read": {"class": "File", "path": "read"},
            "write": {"class": "File", "path": "write"},
        },
        outputs={"out": "stdout", "written": {"type": "File", "outputBinding": {"glob": "write"}}},
        successCodes=[0, 1, 2],
    )
    assert done.returncode == 0, done.stderr
    assert out == "made\nread\nwrite\nabsolute\n"
    assert (tmp_path / "read").read_text() == "read\n"


def test_runtime_values_and_environment(run_tool: Any) -> None:
    done, out = run_tool(
        'echo "$0 $VARIABLE"',
        arguments=["$(runtime.cores) $(runtime.ram) $(runtime.tmpdir)"],
        requirements={
            "EnvVarRequirement": {"envDef": {"VARIABLE": "set", "LANG": "mine"}},
            "ResourceRequirement": {"coresMin": 1, "ramMin": 300},
        },
    )
    assert done.returncode == 0, done.stderr
    assert out == "1 300 /tmp set\n"


def test_time_limit_ends_everything(run_tool: Any) -> None:
    started = time.monotonic()
    done, _ = run_tool("sleep 60 & sleep 60", requirements={"ToolTimeLimit": {"timelimit": 1}})
    assert done.returncode == 1
    assert time.monotonic() - started < 30
    assert "time limit of 1 s" in plain(done.stderr)


def test_network_only_if_asked_for(run_tool: Any) -> None:
    script = "cat /proc/net/dev | tail -n +3 | wc -l"
    _, without = run_tool(script)
    _, with_network = run_tool(script, requirements={"NetworkAccess": {"networkAccess": True}})
    assert int(without) == 1
    host = len(Path("/proc/net/dev").read_text().splitlines()) - 2
    assert int(with_network) == host


def test_an_entry_point_runs_first_and_the_images_command_if_there_is_none(
    run_command: Command, tmp_path: Path
) -> None:
    docker = {"DockerRequirement": {"dockerPull": "docker.io/library/entrypoint:1"}}
    for command, expected in (
        (["echo", "mine"], "mine\n"),
        ([], "the image's own command\n"),
    ):
        tool = {**TOOL, "baseCommand": command, "requirements": docker, "stderr": "err.txt"}
        (tmp_path / "tool.cwl").write_text(json.dumps(tool))
        done = run_command("cwltool", "--udss", "--outdir", "o", "tool.cwl")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "o/out.txt").read_text() == expected


def test_default_container(run_command: Command, tmp_path: Path) -> None:
    tool = {**TOOL, "baseCommand": ["cat", "/etc/os-release"], "requirements": {}}
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    done = run_command("cwltool", "--udss", "--default-container", DEBIAN, "tool.cwl")
    assert done.returncode == 0, done.stderr
    assert "bookworm" in (tmp_path / "out.txt").read_text()


def test_a_tool_without_an_image_runs_on_the_host_with_a_warning(
    run_command: Command, tmp_path: Path
) -> None:
    tool = {**TOOL, "baseCommand": ["pwd"], "requirements": {}}
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    done = run_command("cwltool", "--udss", "tool.cwl")
    assert done.returncode == 0
    assert "in no sandbox" in plain(done.stderr)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--singularity"], "--singularity cannot be used with --udss"),
        (["--podman"], "--podman cannot"),
        (["--no-container"], "--no-container cannot"),
        (["--user-space-docker-cmd", "udocker"], "--user-space-docker-cmd"),
        (["--no-read-only"], "never writable"),
        (["--custom-net", "x"], "--custom-net cannot"),
        (["--leave-container"], "--leave-container cannot"),
        (["--no-match-user"], "yourself"),
    ],
)
def test_options_that_cannot_be_kept_are_refused(
    run_command: Command, tmp_path: Path, options: list[str], reason: str
) -> None:
    done = run_command("cwltool", "--udss", *options, write_tool(tmp_path / "t.cwl", "true"))
    assert done.returncode == 2
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("docker", "code", "message"),
    [
        ({"dockerPull": "127.0.0.1:1/x:1"}, 1, "127.0.0.1:1 does not answer"),
        ({"dockerPull": "library/UPPER"}, 1, "upper-case"),
        ({"dockerImport": "x.tar"}, 1, "x.tar cannot be read"),
        ({"dockerOutputDirectory": "/out"}, 1, "names no image"),
    ],
)
def test_an_image_that_cannot_be_had(
    run_tool: Any, docker: dict[str, str], code: int, message: str
) -> None:
    done, _ = run_tool("true", requirements={"DockerRequirement": docker})
    assert done.returncode == code
    assert message in plain(done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["requirements", "hints"])
def test_an_image_built_from_a_dockerfile(run_command: Command, tmp_path: Path, kind: str) -> None:
    docker = {"dockerFile": f"FROM {DEBIAN}\nRUN echo {kind} > /made", "dockerImageId": kind}
    tool = {**TOOL, "baseCommand": ["cat", "/made"]}
    del tool["requirements"]
    (tmp_path / "tool.cwl").write_text(json.dumps({**tool, kind: {"DockerRequirement": docker}}))
    done = run_command("cwltool", "--udss", "tool.cwl")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == f"{kind}\n"
    named = {**tool, kind: {"DockerRequirement": {"dockerImageId": kind}}}
    (tmp_path / "tool.cwl").write_text(json.dumps(named))
    assert run_command("cwltool", "--udss", "tool.cwl").returncode == 0


def test_a_mistake_in_a_dockerfile_names_its_line(run_tool: Any) -> None:
    docker = {"dockerFile": f"FROM {DEBIAN}\n\nRUN false"}
    done, _ = run_tool("true", requirements={"DockerRequirement": docker})
    assert done.returncode == 1
    assert "Dockerfile line 3: exit code 1" in plain(done.stderr)
    assert "Traceback" not in done.stderr


def test_a_program_that_is_not_in_the_image(run_tool: Any) -> None:
    done, _ = run_tool("", baseCommand=["no-such-program"])
    assert done.returncode == 1
    said = f"'no-such-program' cannot be executed in {DEBIAN}: no such program is in the image"
    assert said in plain(done.stderr)


def test_a_script_that_was_staged_without_its_mode(run_tool: Any) -> None:
    staged = {"listing": [{"entryname": "script.sh", "entry": "#!/bin/sh\necho hello\n"}]}
    requirements = {"InitialWorkDirRequirement": staged}
    done, _ = run_tool("", baseCommand=["./script.sh"], requirements=requirements)
    assert done.returncode == 1
    assert "script.sh is not executable (mode 0" in plain(done.stderr)


@pytest.mark.parametrize("script", ["kill -KILL $$", "sh -c 'kill -KILL $$'; exit $?"])
def test_a_signal_is_named(run_tool: Any, script: str) -> None:
    done, _ = run_tool(script)
    assert done.returncode == 1
    assert "exit code 137 is 128 + 9" in plain(done.stderr)
    assert "terminated by signal: SIGKILL (mostly by the kernel where" in plain(done.stderr)


def test_an_exit_code_that_is_a_success_is_no_signal(run_tool: Any) -> None:
    done, _ = run_tool("kill -KILL $$", successCodes=[137])
    assert done.returncode == 0
    assert "signal" not in done.stderr


SCATTER = {
    "cwlVersion": "v1.2",
    "class": "Workflow",
    "requirements": {"ScatterFeatureRequirement": {}},
    "inputs": {"numbers": "int[]"},
    "steps": {
        "bad": {"run": "bad.cwl", "scatter": "number", "in": {"number": "numbers"}, "out": []},
        "good": {
            "run": "good.cwl",
            "scatter": "number",
            "in": {"number": "numbers"},
            "out": ["out"],
        },
    },
    "outputs": {"out": {"type": "File[]", "outputSource": "good/out"}},
}


@pytest.mark.parametrize("options", [(), ("--parallel",)], ids=["serial", "parallel"])
def test_an_image_that_cannot_be_had_fails_its_steps_only(
    run_command: Command, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """cwltool --parallel hangs here: its executor joins its threads holding their lock."""
    (tmp_path / "workflow.cwl").write_text(json.dumps(SCATTER))
    (tmp_path / "job.json").write_text(json.dumps({"numbers": list(range(10))}))
    inputs = {"number": "int"}
    write_tool(tmp_path / "good.cwl", "echo fine", inputs=inputs)
    write_tool(
        tmp_path / "bad.cwl",
        "true",
        inputs=inputs,
        outputs={},
        requirements={"DockerRequirement": {"dockerPull": "docker.io/library/nothing:1"}},
    )
    done = run_command(
        *("cwltool", "--udss", "--on-error", "continue", *options, "workflow.cwl", "job.json"),
        timeout=60,
    )
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["out"]) == 10


@pytest.mark.parametrize("options", [(), ("--parallel",)], ids=["serial", "parallel"])
def test_a_failure_leaves_the_other_steps_their_time(
    run_command: Command, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """cwltool --parallel gives up here while `good` runs; `after` never starts."""
    inputs = {"file": "File?"}
    steps = {
        "bad": {"run": "bad.cwl", "in": {}, "out": []},
        "good": {"run": "good.cwl", "in": {}, "out": ["out"]},
        "after": {"run": "after.cwl", "in": {"file": "good/out"}, "out": ["out"]},
    }
    outputs = {"out": {"type": "File", "outputSource": "after/out"}}
    workflow = {"cwlVersion": "v1.2", "class": "Workflow", "inputs": {}, "steps": steps}
    (tmp_path / "workflow.cwl").write_text(json.dumps({**workflow, "outputs": outputs}))
    write_tool(tmp_path / "bad.cwl", "exit 1", outputs={})
    write_tool(tmp_path / "good.cwl", "sleep 1; echo fine")
    write_tool(tmp_path / "after.cwl", "echo after", inputs=inputs)
    done = run_command("cwltool", "--udss", "--on-error", "continue", *options, "workflow.cwl")
    assert done.returncode == 1
    assert "Final process status is permanentFail" in plain(done.stderr)
    assert Path(json.loads(done.stdout)["out"]["path"]).read_text() == "after\n"


def test_parallel_steps_really_are(run_command: Command, tmp_path: Path) -> None:
    workflow = {**SCATTER, "steps": {"good": SCATTER["steps"]["good"]}}  # type: ignore[index]
    (tmp_path / "workflow.cwl").write_text(json.dumps(workflow))
    (tmp_path / "job.json").write_text(json.dumps({"numbers": [1, 2, 3, 4]}))
    write_tool(
        tmp_path / "good.cwl",
        "date +%s.%N; sleep 1; date +%s.%N",
        inputs={"number": "int"},
        requirements={"ResourceRequirement": {"coresMin": 1}},
    )
    done = run_command(
        *("cwltool", "--udss", "--parallel", "--parallel-max", "2", "workflow.cwl", "job.json")
    )
    assert done.returncode == 0, done.stderr
    spans = [
        tuple(map(float, Path(file["path"]).read_text().split()))
        for file in json.loads(done.stdout)["out"]
    ]
    running = [sum(a <= start < b for a, b in spans) for start, _ in spans]
    assert max(running) == 2


def test_a_step_that_asks_too_much_is_refused_not_dropped(run_tool: Any) -> None:
    done, _ = run_tool(
        "true", "--parallel", requirements={"ResourceRequirement": {"coresMin": 1000}}
    )
    assert done.returncode == 1
    assert "at least 1000 cores" in plain(done.stderr)


def test_cachedir(run_tool: Any, tmp_path: Path) -> None:
    first, _ = run_tool("date +%N", "--cachedir", "cache")
    content = (tmp_path / "out.txt").read_text()
    second, again = run_tool("date +%N", "--cachedir", "cache")
    assert (first.returncode, second.returncode) == (0, 0)
    assert "result from the cache" in plain(second.stderr)
    assert again == content


@pytest.mark.parametrize("option", ["--udss-scratch", "--cachedir", "--tmpdir-prefix"])
def test_a_path_that_is_a_pattern_is_a_path(run_tool: Any, tmp_path: Path, option: str) -> None:
    """Also that of the directory in which outputs are looked for by patterns."""
    (tmp_path / "runs [2026]*").mkdir()
    outputs = {"all": {"type": "File[]", "outputBinding": {"glob": ["out*", "[b]"]}}}
    done, _ = run_tool("echo x; echo y > b", option, f"{tmp_path}/runs [2026]*/", outputs=outputs)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["all"]
    assert [file["basename"] for file in found] == ["out.txt", "b"]


@pytest.mark.parametrize("options", [(), ("--parallel",)], ids=["serial", "parallel"])
def test_provenance(run_tool: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    done, _ = run_tool("echo x", "--provenance", "ro", *options)
    assert done.returncode == 0, done.stderr
    profile = (tmp_path / "ro/metadata/provenance/primary.cwlprov.provn").read_text()
    assert DEBIAN in profile
    assert "wasEndedBy" in profile


@pytest.mark.parametrize(
    "options",
    [("--timestamps",), ("--debug",), ("--leave-tmpdir",), ("--copy-outputs",), ("--validate",)],
)
def test_other_options_go_through(run_tool: Any, options: tuple[str, ...]) -> None:
    done, _ = run_tool("echo x", *options)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("options", [(), ("--parallel",)], ids=["serial", "parallel"])
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 15), (signal.SIGKILL, -9)],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_signals_end_the_steps(
    environment: dict[str, str], tmp_path: Path, options: tuple[str, ...], number: int, code: int
) -> None:
    marker = f"7{os.getpid()}"  # seconds to sleep, to know the process again
    tool = write_tool(tmp_path / "tool.cwl", f"sleep {marker} & echo > started; sleep {marker}")
    driver = subprocess.Popen(
        [COMMANDS / "cwltool", "--udss", "--tmp-outdir-prefix", f"{tmp_path}/o", *options, tool],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("o*/started")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(number)
    _, log = driver.communicate(timeout=20)
    assert driver.returncode == code
    assert "Traceback" not in log
    time.sleep(0.2)
    assert not processes_with(marker)


def processes_with(argument: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0] == "sleep" and argument in words:
            found.append(" ".join(words))
    return found


FILE_OUTPUT = {"out": {"type": "File", "outputBinding": {"glob": "out.txt"}}}


@pytest.mark.parametrize(
    ("script", "fields"),
    [
        ("ln -s {secret} out.txt", {"outputs": FILE_OUTPUT}),
        ("mkdir d; ln -s {above} d/up", {"outputs": {"out": {**FILE_OUTPUT["out"],
         "outputBinding": {"glob": "d/up/secret"}}}}),
        ("true", {"outputs": {"out": {"type": "File", "outputBinding": {
            "glob": "../../../../../../../../{secret}"}}}}),
        ("true", {"outputs": {"out": {"type": "string", "outputBinding": {
            "glob": "../../../../../../../../{secret}", "loadContents": True,
            "outputEval": "$(self.length ? self[0].contents : null)"}}}}),
        ("""echo '{{"out": {{"class": "File", "path": "../../../../../../../{secret}"}}}}' """
         "> cwl.output.json", {"outputs": {"out": "File"}}),
        ("""echo '{{"out": {{"class": "File", "location": "file://{secret}"}}}}' """
         "> cwl.output.json", {"outputs": {"out": "File"}}),
    ],
)  # fmt: skip
def test_a_tool_cannot_have_the_callers_files_collected(
    run_command: Command, tmp_path: Path, script: str, fields: dict[str, Any]
) -> None:
    (tmp_path / "secret").write_text("the caller's")
    (tmp_path / "run").mkdir()
    words = {"secret": str(tmp_path / "secret"), "above": str(tmp_path)}
    tool = write_tool(tmp_path / "tool.cwl", script.format(**words), **fields)
    tool.write_text(tool.read_text().replace("{secret}", words["secret"]))
    content = json.loads(tool.read_text())
    del content["stdout"]
    tool.write_text(json.dumps(content))
    done = run_command("cwltool", "--udss", "--outdir", tmp_path / "run", tool)
    assert done.returncode == 1, done.stderr
    assert "the caller's" not in done.stdout
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "run") == []


def test_a_linked_input_is_an_output(run_tool: Any, tmp_path: Path) -> None:
    """As `ln -s input.bam .` before a program that writes beside its input."""
    (tmp_path / "in.txt").write_text("an input")
    done, out = run_tool(
        'ln -s "$0" out.txt',
        job={"in": {"class": "File", "location": "in.txt"}},
        inputs={"in": {"type": "File", "inputBinding": {}}},
        outputs=FILE_OUTPUT,
        stdout="log",
    )
    assert done.returncode == 0, done.stderr
    assert out == "an input"


def test_what_is_left_without_permissions_is_collected(run_tool: Any, tmp_path: Path) -> None:
    done, _ = run_tool(
        "mkdir -p d/e $TMPDIR/x/y; echo 1 > d/e/f; mkfifo d/pipe; chmod 0 d/e/f d/e $TMPDIR/x; "
        "chmod 0 d",
        outputs={"out": {"type": "Directory", "outputBinding": {"glob": "d"}}},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "d/e/f").read_text() == "1\n"
    assert "removed /var/spool/cwl/d/pipe" in plain(done.stderr) or "d/pipe" in done.stderr
