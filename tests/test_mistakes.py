# SPDX-License-Identifier: Apache-2.0
"""Mistakes of a person or a site: each ends in words that name the thing, none in a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from commands import COMMANDS, Command
from test_cwltool import plain

JAVASCRIPT = {"InlineJavascriptRequirement": {}}
FEATURES = {"ScatterFeatureRequirement": {}, "StepInputExpressionRequirement": {}, **JAVASCRIPT}


def tool(script: str = "true", **fields: Any) -> dict[str, Any]:
    return {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "hints": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
        "inputs": {},
        "outputs": {},
        "baseCommand": ["sh", "-c", script],
        **fields,
    }


def step(**fields: Any) -> dict[str, Any]:
    """A workflow whose step `each` has two inputs that take anything."""
    anything = {"a": "Any?", "b": "Any?"}
    each = {"run": tool(inputs=anything), "in": {"a": "a", "b": "b"}, "out": [], **fields}
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": FEATURES,
        "inputs": anything,
        "outputs": {},
        "steps": {"each": each},
    }


def given(kind: str, **fields: Any) -> dict[str, Any]:
    return tool("true", inputs={"a": {"type": kind, **fields}})


def leaving(script: str, kind: str = "File", **binding: Any) -> dict[str, Any]:
    output = {"o": {"type": kind, "outputBinding": binding}}
    return tool(script, outputs=output, requirements=JAVASCRIPT)


def evaluated(expression: str) -> dict[str, Any]:
    return step(**{"in": {"a": {"source": "a", "valueFrom": expression}}})


def file(path: Any) -> dict[str, Any]:
    return {"a": {"class": "File", "path": path}}


def directory(path: str) -> dict[str, Any]:
    return {"a": {"class": "Directory", "path": path}}


READING = {"in": {"a": {"source": "a", "loadContents": True, "valueFrom": "$(self.contents)"}}}
ONE = step(scatter="a")
EACH_WITH_EACH = {"scatter": ["a", "b"], "scatterMethod": "flat_crossproduct"}
SIDE_BY_SIDE = {"scatter": ["a", "b"], "scatterMethod": "dotproduct"}
# What is run, with what input, and what is said of it.
OF_DOCUMENTS: dict[str, tuple[Any, Any, str]] = {
    "a scatter over null": (ONE, {}, "step each: 'a' is scattered over, but is null, not an array"),
    "over a directory": (ONE, directory("here"), "'a' is scattered over, but is a Directory"),
    "over a file": (ONE, file("text"), "'a' is scattered over, but is a File"),
    "over a string": (ONE, {"a": "abc"}, "'a' is scattered over, but is a string"),
    "over a map": (ONE, {"a": {"x": 1}}, "'a' is scattered over, but is a map"),
    "over a number": (step(**EACH_WITH_EACH), {"a": [1], "b": 2}, "'b' is scattered over"),
    "over unequal arrays": (step(**SIDE_BY_SIDE), {"a": [1, 2], "b": [1]}, "'a' has 2 items"),
    "over what is no input": (step(scatter="c"), {}, "unknown identifier 'c'"),
    "an exception of JavaScript": (evaluated("${throw new Error('mine')}"), {}, "Error: mine"),
    "no JavaScript": (evaluated("${return (;}"), {}, "SyntaxError"),
    "a condition": (step(when="$('yes')"), {}, "'when' must evaluate to 'true' or 'false'"),
    "contents of a string": (step(**READING), {"a": "x"}, "'a' is a string, not a File"),
    "contents of a large file": (step(**READING), file("large"), "loadContents limited to 65536"),
    "contents nobody may read": (step(**READING), file("secret"), "secret: Permission denied"),
    "a file that is not there": (given("File"), file("missing"), "missing"),
    "a directory that is not there": (given("Directory"), directory("missing"), "missing not fou"),
    "a directory for a file": (given("File"), file("here"), "here) not found or is not a regular"),
    "a file for a directory": (given("Directory"), directory("text"), "text is not a directory"),
    "a file without a path": (given("File"), file(None), "input a: the path of a File is null"),
    "a file whose path is a number": (given("File"), file(3), "path of a File is a number"),
    "a missing input": (given("string"), {}, "Missing required input parameter 'a'"),
    "an input object that is a list": (tool(), "[1]", "input.json is not formatted correctly"),
    "an input object that is no YAML": (tool(), "{a: [1,", "input.json"),
    "an input object that is empty": (tool(), "", "input.json is empty"),
    "an input object that is no text": (tool(), b"a: caf\xe9", "input.json: is no text in UTF-8"),
    "a document that is no text": (b"\x89PNG\r\n", {}, "document.cwl: is no text in UTF-8"),
    "a document that is empty": ("", {}, "document.cwl: is empty"),
    "a document of another class": ({**tool(), "class": "Tool"}, {}, "'class'"),
    "a document that runs itself": (step(run="document.cwl"), {}, "document.cwl"),
    "a step that is not there": (step(run="missing.cwl"), {}, "missing.cwl"),
    "an import that is not there": (tool(arguments=[{"$include": "lost.txt"}]), {}, "lost.txt"),
    "a document that is a list": ("[1, 2]", {}, "document.cwl is no CWL document, which is a map"),
    "a document that is a text": ("secret", {}, "document.cwl is no CWL document, which is a map"),
    "a standard input that is no input": (
        tool(stdin="missing"),
        {},
        "missing is to be its standard input, but is none of its inputs",
    ),
    "a file without a name": (
        tool(requirements={"InitialWorkDirRequirement": {"listing": [{"entry": "text"}]}}),
        {},
        "an entry of InitialWorkDirRequirement's listing has no entryname",
    ),
    "a variable without a name": (
        tool(requirements={"EnvVarRequirement": {"envDef": {"A=B": "x"}}}),
        {},
        "'A=B' is no name of an environment variable",
    ),
    "an argument with a NUL": (
        tool(arguments=["a\0b"]),
        {},
        r"there is a NUL character in 'a\x00b': remove it",
    ),
    "an argument that is too long": (
        tool(inputs={"a": {"type": "string", "inputBinding": {}}}),
        {"a": "x" * 140_000},
        "xxx'… has 140000 bytes, and a program takes",
    ),
    "an image without a name": (tool(hints={"DockerRequirement": {}}), {}, "names no image"),
    "memory that is no number": (
        tool(requirements={"ResourceRequirement": {"ramMin": "$('x')"}, **JAVASCRIPT}),
        {},
        "its ResourceRequirement asks for what is no number",
    ),
    "an output that is not there": (leaving("true", glob="missing"), {}, "'missing'"),
    "an output elsewhere": (leaving("true", glob="../../x"), {}, "not in the output directory"),
    "an output with an exception": (leaving("true", outputEval="${throw 'mine'}"), {}, "mine"),
    "a name that is not UTF-8": (
        leaving("printf x >$(printf 'a\\377b')", glob="*"),
        {},
        r"a\xffb' is no name in UTF-8",
    ),
    "a cwl.output.json that is none": (
        tool("echo { >cwl.output.json", outputs={"o": "int"}),
        {},
        "cwl.output.json that is no JSON",
    ),
    "a cwl.output.json that is a directory": (
        tool("mkdir cwl.output.json", outputs={"o": "int"}),
        {},
        "cwl.output.json: Is a directory",
    ),
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What the mistakes are about."""
    (tmp_path / "text").write_text("x")
    (tmp_path / "large").write_text("x" * 70_000)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)
    for name, mode in (("here", 0o755), ("closed", 0), ("read-only", 0o555)):
        (tmp_path / name).mkdir(mode=mode)
    return tmp_path


def write(path: Path, content: Any) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize("mistake", OF_DOCUMENTS)
def test_mistakes_in_documents(run_command: Command, files: Path, mistake: str) -> None:
    document, job_order, said = OF_DOCUMENTS[mistake]
    write(files / "document.cwl", document)
    write(files / "input.json", job_order)
    done = run_command("cwltool", "--udss", "document.cwl", "input.json")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "Unhandled" not in done.stderr
    assert "please report" not in done.stderr
    assert said in plain(done.stderr)


def test_a_server_that_is_not_there(run_command: Command, tmp_path: Path) -> None:
    """Our own sentence says all; nothing of what it was made from is added."""
    write(tmp_path / "tool.cwl", given("File"))
    done = run_command("cwltool", "--udss", "tool.cwl", "-a", "http://127.0.0.1:1/file")
    assert done.returncode == 1
    assert "file cannot be downloaded" in done.stderr
    assert plain(done.stderr).endswith("look at the URL and the network")


# Options, variables of the environment, and what is said.
OF_COMMANDS: dict[str, tuple[list[str], dict[str, str], str]] = {
    "a document that is not there": (["missing.cwl"], {}, "Not found: 'missing.cwl'"),
    "a document that is a directory": (["here"], {}, "here"),
    "an input object that is not there": (["tool.cwl", "missing.json"], {}, "missing.json"),
    "an output directory that is a file": (["--outdir", "text", "tool.cwl"], {}, "--outdir"),
    "one that cannot be made": (["--outdir", "read-only/x", "tool.cwl"], {}, "read-only/x"),
    "one that cannot be written": (["--outdir", "read-only", "tool.cwl"], {}, "mode 0555"),
    "a temporary directory": (["--tmpdir-prefix", "read-only/x/", "tool.cwl"], {}, "read-only"),
    "a cache that is a file": (["--cachedir", "text", "tool.cwl"], {}, "text cannot be written"),
    "a store that is a file": (["tool.cwl"], {"CWL_UDSS_STORE": "text"}, "text cannot be used"),
    "overrides that are not there": (["--overrides", "missing", "tool.cwl"], {}, "missing"),
    "a summary": (["--write-summary", "read-only/x", "tool.cwl"], {}, "read-only/x"),
}


@pytest.mark.parametrize("mistake", OF_COMMANDS)
def test_mistakes_in_commands(run_command: Command, files: Path, mistake: str) -> None:
    arguments, variables, said = OF_COMMANDS[mistake]
    write(files / "tool.cwl", tool("echo", outputs={"o": "stdout"}))
    done = run_command("cwltool", "--udss", *arguments, **variables)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "Unhandled" not in done.stderr
    assert said in plain(done.stderr)


@pytest.mark.parametrize("variables", [{"TMPDIR": "/nonexistent"}, {"HOME": "/nonexistent"}])
def test_directories_of_the_environment_that_are_not_there(
    run_command: Command, tmp_path: Path, variables: dict[str, str]
) -> None:
    write(tmp_path / "tool.cwl", tool())
    done = run_command("cwltool", "--udss", "tool.cwl", **variables)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["cwltool --udss ../tool.cwl", "cwl-udss run busybox:1.36"])
def test_a_current_directory_that_is_gone(
    run_command: Command, tmp_path: Path, command: str
) -> None:
    (tmp_path / "gone").mkdir()
    done = run_command("/bin/sh", "-c", f"cd gone && rmdir ../gone && {command}")
    assert done.returncode == 1
    assert "the current directory: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_user_without_a_name_or_a_home(run_command: Command, tmp_path: Path) -> None:
    """As where a compute node does not reach the site's directory service."""
    nobody = ("--user", "--map-user=54321", "--", "/usr/bin/env", "-u", "HOME")
    done = run_command("/usr/bin/unshare", *nobody, COMMANDS / "cwl-udss", "images", "list")
    assert done.returncode == 1
    assert "nothing here knows your home directory" in done.stderr
    assert "set HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_where(run_command: Command, tmp_path: Path) -> None:
    write(tmp_path / "tool.cwl", step(**READING))
    (tmp_path / "secret").touch(mode=0)
    write(tmp_path / "input.json", file("secret"))
    done = run_command("cwltool", "--udss", "--debug", "tool.cwl", "input.json")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_images_of_a_document_with_mistakes(run_command: Command, tmp_path: Path) -> None:
    write(tmp_path / "tool.cwl", tool(arguments=[{"$include": "lost.txt"}]))
    done = run_command("cwl-udss", "images", "pull", "tool.cwl", "--overrides", "missing")
    assert done.returncode == 1
    assert "missing" in done.stderr
    done = run_command("cwl-udss", "images", "pull", "tool.cwl")
    assert done.returncode == 1
    assert "lost.txt" in done.stderr
    assert "tool.cwl cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_without_files(run_command: Command, files: Path) -> None:
    for arguments in (
        ("step", "--job", "missing"),
        ("step", "missing"),
        ("images", "import", "missing"),
        ("images", "list", "--udss-store", files / "text"),
        ("clean", "--udss-scratch", files / "text"),
    ):
        done = run_command("cwl-udss", *arguments)
        assert done.returncode == 1
        # What other tests have left may have to be watched first.
        said = [line for line in done.stderr.splitlines() if not line.startswith("still waiting")]
        assert len(said) == 1, done.stderr
        assert os.fspath(arguments[-1]) in said[0]
