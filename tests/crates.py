# SPDX-License-Identifier: Apache-2.0
"""What tests of crates share: a workflow with much in it, a validator, and what that lets pass."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock
from needs import need
from stand_ins import cache_directory

VALIDATOR = "roc-validator==0.13.0"
METADATA = "ro-crate-metadata.json"
BUSYBOX = {"DockerRequirement": {"dockerPull": "busybox:1.36"}}
# Of these a crate has no more than the name, as the profiles' examples.
KNOWN_ELSEWHERE = re.compile(
    r"http://schema\.org/|https://w3id\.org/(ro/terms/workflow-run#|ro/crate/|cwl/)"
    r"|https://www\.commonwl\.org/"
)

Entity = dict[str, Any]


def installed_validator() -> Path:
    """Where it is installed, beside our own packages."""
    place = cache_directory() / VALIDATOR
    with FileLock(f"{place}.lock"):
        if not place.exists():
            made = place.with_name(f"{place.name}.{os.getpid()}")
            command = [sys.executable, "-m", "pip", "install", "-q", "--target", made, VALIDATOR]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                need(f"needs {VALIDATOR} of PyPI: {done.stderr}")
            made.rename(place)
    return place


def problems(directory: Path, **crates: Path) -> dict[str, list[str]]:
    """What the validator says of crates, by profile; it keeps things in a directory."""
    newest = importlib.resources.files("rocrate").joinpath("data/ro-crate.jsonld")
    profiles = {name.replace("_", "-").replace("--", "."): path for name, path in crates.items()}
    done = subprocess.run(
        [
            *(sys.executable, Path(__file__).parent / "report/validate_crates.py"),
            *(directory / "validator", str(newest)),
            *(f"{profile}={path}" for profile, path in profiles.items()),
        ],
        env={**os.environ, "PYTHONPATH": str(installed_validator())},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def entities(crate: Path) -> dict[str, Entity]:
    """Those of a crate, by identifier; each once."""
    graph = json.loads((crate / METADATA).read_text())["@graph"]
    found = {entity["@id"]: entity for entity in graph}
    assert len(found) == len(graph)
    return found


def of_type(found: dict[str, Entity], kind: str) -> list[Entity]:
    return [x for x in found.values() if kind in listed(x["@type"])]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def references(value: Any) -> Iterator[str]:
    """All that a value refers to."""
    if isinstance(value, list):
        for part in value:
            yield from references(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name == "@id":
                yield part
            else:
                yield from references(part)


def refers(entity: Entity, name: str) -> list[str]:
    """What an entity refers to by a property."""
    return list(references(entity.get(name, [])))


def check_what_passes(crate: Path) -> None:
    """Hold a crate to what the validator lets pass."""
    found = entities(crate)
    for entity in found.values():
        identifier = entity["@id"]
        assert identifier.isascii()
        assert " " not in identifier
        assert not identifier.startswith(("file:", "/"))
        for other in references({k: v for k, v in entity.items() if k != "@id"}):
            assert other in found or KNOWN_ELSEWHERE.match(other), (identifier, other)
    for image in of_type(found, "ContainerImage"):
        assert refers(image, "additionalType")[0].startswith("https://w3id.org/ro/terms/")
        assert re.fullmatch("[0-9a-f]{64}", image["sha256"])
        assert image["registry"]
        assert image["name"]
    for action in of_type(found, "CreateAction"):
        _check_action(action, found)
    for parameter in of_type(found, "FormalParameter"):
        assert parameter["name"]
    root = found["./"]
    for part in refers(root, "hasPart"):
        path = crate / unquote(part)
        assert urlsplit(part).scheme or (path.is_dir() if part.endswith("/") else path.is_file())
    in_root = {path for path in refers(root, "hasPart") if not urlsplit(path).scheme}
    files = {x["@id"] for x in (*of_type(found, "File"), *of_type(found, "Dataset"))}
    assert {x for x in files if not x.startswith("#")} - {"./"} == in_root
    assert root["license"]["@id"] in found


def _check_action(action: Entity, found: dict[str, Entity]) -> None:
    status = action["actionStatus"]["@id"].removeprefix("http://schema.org/")
    assert ("error" in action) == (status == "FailedActionStatus")
    assert all(found[x]["@type"] == "ContainerImage" for x in refers(action, "containerImage"))
    for figure in (found[x] for x in refers(action, "resourceUsage")):
        assert urlsplit(figure["propertyID"]).scheme == "https"
        assert float(figure["value"]) >= 0
    times = [action[name] for name in ("startTime", "endTime") if name in action]
    assert times == sorted(times)
    assert all(datetime.fromisoformat(time).tzinfo for time in times)


def tool(script: str, inputs: dict[str, Any], outputs: dict[str, Any], **more: Any) -> Entity:
    return {
        "class": "CommandLineTool",
        "hints": BUSYBOX,
        "inputs": inputs,
        "outputs": outputs,
        "baseCommand": ["sh", "-c", script],
        **more,
    }


def write_workflow(directory: Path) -> None:
    """Write many.cwl, with all kinds of steps and parameters, and job.json."""
    pair = {"name": "pair", "type": "record", "fields": {"one": "string", "two": {"type": "File"}}}
    own_types = {"SchemaDefRequirement": {"types": [{"$import": "types.yml"}]}}
    made = tool(
        "mkdir -p 'made dir/sub'; echo 1 > 'made dir/sub/é &.txt'",
        {
            **{"given": "Directory", "literal": "Directory", "bam": "File", "again": "File"},
            **{"pair": "types.yml#pair", "text": "File", "default": "File"},
        },
        {"made": {"type": "Directory", "outputBinding": {"glob": "made dir"}}},
        requirements=own_types,
    )
    inner = {
        "class": "Workflow",
        "inputs": {"word": "string", "number": "int"},
        "outputs": {"out": {"type": "File", "outputSource": "in ner/out"}},
        "steps": {
            "in ner": {
                "run": tool(
                    'echo "$0"',
                    {"word": {"type": "string", "inputBinding": {}}},
                    {"out": "stdout"},
                    stdout="out.txt",
                ),
                "in": {"word": "word"},
                "out": ["out"],
            }
        },
    }
    expression = {
        "class": "ExpressionTool",
        "inputs": {"number": "int"},
        "outputs": {"more": "int"},
        "expression": "${return {more: inputs.number + 1};}",
    }
    on_host = {
        "class": "CommandLineTool",
        "inputs": {"files": "File[]"},
        "outputs": {"out": "stdout"},
        "baseCommand": "echo",
        "stdout": "host.txt",
    }
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "$namespaces": {"s": "https://schema.org/"},
        "s:license": "https://spdx.org/licenses/MIT",
        "label": "Many <img onerror=x> things",
        "requirements": {
            **own_types,
            "InlineJavascriptRequirement": {},
            "ScatterFeatureRequirement": {},
            "SubworkflowFeatureRequirement": {},
        },
        "inputs": {
            **{"number": "int", "nothing": "string?", "words": "string[]", "again": "File"},
            **{"pair": "types.yml#pair", "given": "Directory", "literal": "Directory"},
            "color": {"type": {"type": "enum", "symbols": ["red", "green"]}},
            "lists": {"type": {"type": "array", "items": {"type": "array", "items": "int"}}},
            "bam": {"type": "File", "secondaryFiles": [".idx"]},
            "text": "File",
            "default": {"type": "File", "default": {"class": "File", "location": "ü b.txt"}},
        },
        "outputs": {
            "made": {"type": "Directory", "outputSource": "make/made"},
            "texts": {"type": "File[]", "outputSource": "call/out"},
            "more": {"type": "int", "outputSource": "count/more"},
            "skipped": {"type": "File?", "outputSource": "skip/out"},
        },
        "steps": {
            "make": {
                "run": made,
                "in": {name: name for name in made["inputs"]},
                "out": ["made"],
            },
            "count": {"run": expression, "in": {"number": "number"}, "out": ["more"]},
            "call": {
                "run": inner,
                "scatter": "word",
                "in": {"word": "words", "number": "count/more"},
                "out": ["out"],
            },
            "skip": {
                "run": tool("true", {"number": "int"}, {"out": "stdout"}),
                "when": "$(inputs.number > 100)",
                "in": {"number": "count/more"},
                "out": ["out"],
            },
            "host": {"run": on_host, "in": {"files": "call/out"}, "out": ["out"]},
        },
    }
    (directory / "types.yml").write_text(json.dumps([pair]))
    (directory / "many.cwl").write_text(json.dumps(workflow))
    job = {
        "number": 3,
        "words": ["a", "a", "b <c>"],
        "lists": [[1, 2], [3]],
        "color": "red",
        "pair": {"one": "A", "two": {"class": "File", "location": "ü b.txt"}},
        "bam": {"class": "File", "location": "m.bam", "secondaryFiles": [_file("m.bam.idx")]},
        "again": _file("m.bam"),
        "text": {"class": "File", "basename": "text.txt", "contents": "literal"},
        "given": {"class": "Directory", "location": "given"},
        "literal": {
            "class": "Directory",
            "basename": "put together",
            "listing": [_file("m.bam"), {"class": "File", "basename": "q", "contents": "q"}],
        },
    }
    (directory / "job.json").write_text(json.dumps(job))
    (directory / "given/sub").mkdir(parents=True)
    for name in ("given/sub/i.txt", "m.bam", "m.bam.idx", "ü b.txt"):
        (directory / name).write_text(name)
    (directory / "given/broken").symlink_to("nowhere")


def _file(location: str) -> Entity:
    return {"class": "File", "location": location}
