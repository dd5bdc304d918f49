# SPDX-License-Identifier: Apache-2.0
"""CWL's schemas out of the cache are what cwltool makes of them, in all that it does with them."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cwltool.main
import cwltool.process
import pytest
import ruamel.yaml.main
from commands import COMMANDS, Command
from effort import lines
from schema_salad import schema
from schema_salad.avro.schema import Field, Names, Schema
from schema_salad.ref_resolver import Loader
from test_cwltool import without_version

from cwl_udss.engine.startup import schema_cache
from cwl_udss.engine.startup.schema_cache import keep_schemas

VERSIONS = ("v1.0", "v1.1", "v1.2", "v1.3.0-dev1")
# What cwltool looks up in the loader that has read a schema.
LOOKED_UP = (
    "https://w3id.org/cwl/salad#Any",
    "https://w3id.org/cwl/cwl#File",
    "https://w3id.org/cwl/cwl#Directory",
)
# A loader's means, not what it knows.
NOT_COMPARED = {"session", "fetcher", "fetcher_constructor", "graph", "idx"}


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget what this process has loaded; all of cwltool is as it was at the end."""
    monkeypatch.setattr(cwltool.process, "SCHEMA_CACHE", {})
    monkeypatch.setattr(cwltool.process, "custom_schemas", {})
    monkeypatch.setattr(cwltool.process, "load_schema", schema.load_schema)

    def forget() -> None:
        cwltool.process.SCHEMA_CACHE.clear()
        monkeypatch.setattr(schema, "cached_metaschema", None)

    forget()
    return forget


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory whose cache cwltool uses from now on."""
    return tmp_path / "home"


def kept(home: Path) -> list[Path]:
    return sorted((home / ".cache/cwl-udss/schemas").glob("*.json"))


def extend(enabled: bool) -> None:
    """As cwltool does with and without --enable-ext."""
    cwltool.main.setup_schema(argparse.Namespace(enable_ext=enabled), None)


@pytest.fixture
def no_yaml(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        def refuse(*arguments: Any) -> Any:
            raise AssertionError("YAML is parsed")

        for name in ("load", "load_all"):
            monkeypatch.setattr(ruamel.yaml.main.YAML, name, refuse)

    return forbid


def attributes(thing: Any) -> dict[str, Any]:
    """All of an object that is data; compiled classes have no __dict__."""
    names = {name for name in dir(thing) if not name.startswith("__")} - NOT_COMPARED
    values = {name: getattr(thing, name) for name in names}
    return {name: value for name, value in values.items() if not callable(value)}


def compare(one: Any, other: Any, seen: set[tuple[int, int]], path: str = "") -> None:
    """Schemas contain one another, and have no equality of their own."""
    if isinstance(one, Names | Schema | Field):
        assert type(one) is type(other), path
        if (id(one), id(other)) in seen:
            return
        seen.add((id(one), id(other)))
        one, other = attributes(one), attributes(other)
    if isinstance(one, Mapping):
        assert list(one) == list(other), path
        for key in one:
            compare(one[key], other[key], seen, f"{path}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for number, (item, its) in enumerate(zip(one, other, strict=True)):
            compare(item, its, seen, f"{path}/{number}")
    else:
        assert one == other, path


def compare_loaders(one: Loader, other: Loader) -> None:
    assert attributes(one) == attributes(other)
    assert list(one.ctx) == list(other.ctx)
    assert set(one.graph) == set(other.graph)
    assert one.session.adapters.keys() == other.session.adapters.keys()
    assert type(one.fetcher) is type(other.fetcher)


def test_cwltool_still_loads_its_schemas_where_we_replace_it() -> None:
    """Else the cache is not used: time to look what that release does."""
    assert cwltool.process.load_schema is schema.load_schema
    assert schema.cached_metaschema is None or isinstance(schema.cached_metaschema[0], Names)


def test_the_cache_is_worth_it(fresh: Callable[[], None], home: Path) -> None:
    """If this fails cwltool or Schema Salad have become fast: remove the cache."""

    def effort() -> int:
        fresh()
        return lines(lambda: cwltool.process.get_schema("v1.2"))

    without = effort()
    keep_schemas({}, home)
    effort()
    assert effort() < without / 3


@pytest.mark.parametrize("extensions", [False, True], ids=["", "--enable-ext"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_kept_schema_is_what_loading_gives(
    fresh: Callable[[], None], home: Path, no_yaml: Any, version: str, extensions: bool
) -> None:
    extend(extensions)
    loaded = cwltool.process.get_schema(version)
    language = schema.get_metaschema()
    keep_schemas({}, home)
    fresh()
    written = cwltool.process.get_schema(version)
    assert len(kept(home)) == 1
    fresh()
    no_yaml()
    restored = cwltool.process.get_schema(version)
    for one, other in ((loaded, written), (loaded, restored)):
        compare_loaders(one[0], other[0])
        compare(one[1], other[1], set())
        assert one[2] == other[2]
        compare_loaders(one[3], other[3])
        for name in LOOKED_UP:
            assert one[3].idx[name] == other[3].idx[name]
    for name, definition in restored[3].idx.items():
        assert loaded[3].idx[name] == definition
    compare(language[0], schema.get_metaschema()[0], set())
    assert language[1] == schema.get_metaschema()[1]
    compare_loaders(language[2], schema.get_metaschema()[2])


def test_schemas_and_their_extensions_are_kept_apart(fresh: Callable[[], None], home: Path) -> None:
    keep_schemas({}, home)
    for extensions in (False, True, False):
        extend(extensions)
        names = cwltool.process.get_schema("v1.2")[1]
        assert isinstance(names, Names)
        assert any("Secrets" in name for name in names.names) is extensions
    assert len(kept(home)) == 2


def test_the_cache_is_where_the_users_caches_are(
    fresh: Callable[[], None], home: Path, tmp_path: Path
) -> None:
    keep_schemas({"XDG_CACHE_HOME": str(tmp_path / "caches")}, home)
    cwltool.process.get_schema("v1.0")
    assert len(list((tmp_path / "caches/cwl-udss/schemas").glob("*.json"))) == 1
    assert not home.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("RECIPE", 1000), ("_PACKAGES", ("schema-salad", "requests"))],
)
def test_what_another_version_has_kept_is_left_alone(
    fresh: Callable[[], None],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: object,
) -> None:
    keep_schemas({}, home)
    cwltool.process.get_schema("v1.0")
    before = kept(home)
    monkeypatch.setattr(schema_cache, name, value)
    fresh()
    cwltool.process.get_schema("v1.0")
    assert len(kept(home)) == 2
    assert before[0] in kept(home)


def test_what_an_unknown_release_makes_of_its_objects_is_no_error(
    fresh: Callable[[], None], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_schemas({}, home)
    cwltool.process.get_schema("v1.0")
    [path] = kept(home)

    def misfit(*arguments: Any) -> Any:
        raise AttributeError("no such thing")

    monkeypatch.setattr(schema_cache, "_restored", misfit)
    fresh()
    assert isinstance(cwltool.process.get_schema("v1.0")[1], Names)
    path.unlink()
    monkeypatch.setattr(schema_cache, "_plain", misfit)
    fresh()
    assert isinstance(cwltool.process.get_schema("v1.0")[1], Names)
    assert kept(home) == []


TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "hints": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
    "baseCommand": "true",
    "inputs": {"number": "int", "file": "File?"},
    "outputs": {},
}
STEP: dict[str, Any] = {"run": "tool.cwl", "in": {"number": "number"}, "out": []}
WORKFLOW: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "Workflow",
    "inputs": {"number": "int"},
    "outputs": {},
    "steps": {"one": STEP},
}
RECORD = {
    "name": "pair",
    "type": "record",
    "fields": [{"name": "one", "type": "int"}, {"name": "two", "type": "string"}],
}
ONTOLOGY = """\
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix ex: <http://example.com/formats#> .
ex:fasta rdfs:subClassOf ex:text .
ex:text rdfs:label "text" .
"""


def with_format(name: str) -> dict[str, Any]:
    return {
        **TOOL,
        "$namespaces": {"ex": "http://example.com/formats#"},
        "$schemas": ["formats.ttl"],
        "inputs": {"number": "int", "file": {"type": "File", "format": f"ex:{name}"}},
    }


def with_type(value: Any) -> tuple[Any, Any]:
    types = {"SchemaDefRequirement": {"types": [RECORD]}}
    return {**TOOL, "requirements": types, "inputs": {"pair": "#pair"}}, {"pair": value}


def with_extension(**fields: Any) -> dict[str, Any]:
    return {
        **TOOL,
        "$namespaces": {"cwltool": "http://commonwl.org/cwltool#"},
        "inputs": {"word": "string"},
        "hints": {**TOOL["hints"], "cwltool:Secrets": fields},
    }


# By what is in them; with a job, where it is not the usual one.
GOOD_DOCUMENTS: dict[str, tuple[Any, Any]] = {
    "v1.0": ({**TOOL, "cwlVersion": "v1.0"}, None),
    "v1.1": ({**TOOL, "cwlVersion": "v1.1"}, None),
    "v1.2": (TOOL, None),
    "a v1.0 workflow of a v1.2 tool": ({**WORKFLOW, "cwlVersion": "v1.0"}, None),
    "a workflow": (WORKFLOW, None),
    "a graph": (
        {
            "cwlVersion": "v1.2",
            "$graph": [
                {**TOOL, "id": "tool"},
                {**WORKFLOW, "id": "main", "steps": {"one": {**STEP, "run": "#tool"}}},
            ],
        },
        None,
    ),
    "types of its own": with_type({"one": 1, "two": "x"}),
    "a format of an ontology": (with_format("text"), None),
    "an extension": (with_extension(secrets=["word"]), {"word": "x"}),
    "an extension, enabled": (with_extension(secrets=["word"]), {"word": "x"}),
}
BAD_DOCUMENTS: dict[str, tuple[Any, Any]] = {
    "another value than that of a type of its own": with_type({"one": "x"}),
    "another format of an ontology than the file's": (with_format("image"), None),
    "an extension with mistakes, enabled": (with_extension(secret=3), {"word": "x"}),
    "an unknown requirement": ({**TOOL, "requirements": {"NoSuchRequirement": {}}}, None),
    "an unknown field": ({**TOOL, "bseCommand": "true"}, None),
    "a missing field": ({k: v for k, v in TOOL.items() if k != "outputs"}, None),
    "a type that is none": ({**TOOL, "inputs": {"number": "integer"}}, None),
    "a wrong version": ({**TOOL, "cwlVersion": "v2.0"}, None),
    "an unknown class": ({**TOOL, "class": "Tool"}, None),
    "a source that is none": (
        {**WORKFLOW, "steps": {"one": {**STEP, "in": {"number": "no_such"}}}},
        None,
    ),
    "v1.0 with mistakes": ({**TOOL, "cwlVersion": "v1.0", "inputs": {"number": 3}}, None),
    "v1.1 with mistakes": ({**TOOL, "cwlVersion": "v1.1", "stdin": 3, "x": 1}, None),
    "a value of a wrong type": (TOOL, {"number": "one"}),
    "text": ("no: CWL: at all", None),
}
DOCUMENTS = {**GOOD_DOCUMENTS, **BAD_DOCUMENTS}
JOB = {
    "number": 1,
    "file": {
        "class": "File",
        "path": "file.fasta",
        "format": "http://example.com/formats#fasta",
    },
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_messages_are_the_same_with_and_without_the_cache(
    run_command: Command, tmp_path: Path, name: str
) -> None:
    document, job = DOCUMENTS[name]
    text = document if isinstance(document, str) else json.dumps(document, indent=1)
    (tmp_path / "document.cwl").write_text(text)
    (tmp_path / "tool.cwl").write_text(json.dumps(TOOL))
    (tmp_path / "job.json").write_text(json.dumps(job or JOB))
    (tmp_path / "file.fasta").touch()
    (tmp_path / "formats.ttl").write_text(ONTOLOGY)
    extension = ["--enable-ext"] if "enabled" in name else []
    arguments = ["--validate", *extension, "document.cwl", "job.json"]
    original = ["-c", "import sys, cwltool.main; sys.exit(cwltool.main.run())"]
    theirs = run_command("python", *original, *arguments)
    for _ in ("cold", "warm"):
        caches = str(tmp_path / "caches")
        ours = run_command("cwltool", "--udss", *arguments, XDG_CACHE_HOME=caches)
        assert ours.returncode == theirs.returncode
        assert without_version(ours.stdout) == without_version(theirs.stdout)
        assert without_version(ours.stderr) == without_version(theirs.stderr)
    assert theirs.returncode == int(name in BAD_DOCUMENTS), theirs.stdout


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    path = tmp_path / "tool.cwl"
    path.write_text(json.dumps(TOOL))
    return path


def test_a_damaged_cache_is_mended_without_a_word(
    run_command: Command, tmp_path: Path, tool: Path
) -> None:
    caches = tmp_path / "caches"

    def validate() -> subprocess.CompletedProcess[str]:
        return run_command("cwltool", "--udss", "--validate", tool, XDG_CACHE_HOME=str(caches))

    first = validate()
    paths = list(caches.glob("cwl-udss/schemas/*.json"))
    contents = [path.read_bytes() for path in paths]
    assert len(paths) == 2  # that of the document, and v1.0, of which cwltool needs some types
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content[: len(content) // 2])
    second = validate()
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, first.stderr)
    assert [path.read_bytes() for path in paths] == contents


def test_without_a_place_for_a_cache_all_is_the_same(
    run_command: Command, tmp_path: Path, tool: Path
) -> None:
    (tmp_path / "file").touch()
    with_cache = run_command("cwltool", "--udss", "--validate", tool)
    without = run_command(
        "cwltool", "--udss", "--validate", tool, XDG_CACHE_HOME=str(tmp_path / "file")
    )
    assert without.returncode == 0
    assert (without.stdout, without.stderr) == (with_cache.stdout, with_cache.stderr)


def test_the_first_runs_may_be_several_at_once(
    environment: dict[str, str], tmp_path: Path, tool: Path
) -> None:
    caches = tmp_path / "caches"
    started = [
        subprocess.Popen(
            [COMMANDS / "cwltool", "--udss", "--validate", tool],
            env={**environment, "XDG_CACHE_HOME": str(caches)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = {process.communicate(timeout=120)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(outputs) == 1
    assert len(list(caches.glob("cwl-udss/schemas/*.json"))) == 2
    assert list(caches.glob("cwl-udss/schemas/work/*")) == []


def test_without_udss_nothing_is_kept(run_command: Command, tmp_path: Path, tool: Path) -> None:
    caches = tmp_path / "caches"
    done = run_command("cwltool", "--validate", tool, XDG_CACHE_HOME=str(caches))
    assert done.returncode == 0
    assert not (caches / "cwl-udss").exists()
