# SPDX-License-Identifier: Apache-2.0
"""How qstat prints jobs: as JSON of two kinds, as text, and as a table."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

from pbs_jobs import Attribute, Job, attributes
from pbs_resources import clock
from pbs_settings import SERVER

VERSION = "23.06.06"
_LINE = 78
_TEXTS = ("Job_Name", "project", "Account_Name", "pbs_version", "pbs_server")
_LITERAL = tuple(' \t\n"-0123456789[{tfn')


def to_json(document: dict[str, Any], dialect: str) -> str:
    """A document whose values are text or, for the timestamp, a number."""
    if dialect == "release":
        return _release(document, 4) + "\n"
    return _master(document, 1) + "\n"


def header(server: str) -> dict[str, Any]:
    """What any JSON begins with."""
    return {"timestamp": int(time.time()), "pbs_version": VERSION, "pbs_server": server}


def as_document(given: Iterable[Attribute], dialect: str) -> dict[str, Any]:
    """Attributes with their resources and variables as objects."""
    document: dict[str, Any] = {}
    for name, resource, value in given:
        if resource is not None:
            document.setdefault(name, {})[resource] = value
        elif name == "Variable_List":
            document[name] = _split_variables(value, dialect)
        else:
            document[name] = value
    return document


def _split_variables(encoded: str, dialect: str) -> dict[str, str]:
    """As qstat does it: only commas are unescaped."""
    # The release takes the first letter without looking: of an empty value, the comma after it.
    first = ".?" if dialect == "release" else ""
    found = re.findall(rf"([^=,]*)=({first}(?:\\,|[^,])*)", encoded, re.DOTALL)
    return {name: value.replace("\\,", ",") for name, value in found}


def _master(value: Any, depth: int, key: str = "") -> str:
    """As cJSON_Print; what looks like a JSON value becomes one (see pbs_json_insert_parsed)."""
    if isinstance(value, dict):
        indent = "\t" * depth
        items = (
            f'{indent}"{name}":\t{_master(item, depth + 1, name)}' for name, item in value.items()
        )
        return "{\n" + ",\n".join(items) + "\n" + indent[1:] + "}"
    if isinstance(value, int):
        return str(value)
    literal = None
    # Most values are plain texts; only these letters can begin anything else.
    if value[:1] in _LITERAL and key not in (
        "Job_Name",
        "project",
        "Account_Name",
        "pbs_version",
        "pbs_server",
    ):
        literal = _literal(value)
    return _quote(value) if literal is None else literal


def _literal(value: str) -> str | None:
    text = value.strip()
    if text in ("true", "false", "null"):
        return text
    if re.fullmatch(r"-?\d[\d.]*([eE][+-]?\d+)?", text) and text.count(".") <= 1:
        number = float(text)
        if math.isinf(number):
            return "null"
        if number == int(number) and abs(number) < 2**31:
            return str(int(number))
        short = f"{number:.15g}"
        return short if float(short) == number else f"{number:.17g}"
    if text[:1] in ("[", "{", '"'):
        try:
            return json.dumps(json.loads(text), ensure_ascii=False)
        except ValueError:
            return None
    return None


def _quote(value: str) -> str:
    plain = value.isprintable() and '"' not in value and "\\" not in value
    return f'"{value}"' if plain else json.dumps(value, ensure_ascii=False)


def _release(value: Any, indent: int) -> str:
    """As generate_json: a number stays as it is written, also where JSON knows no such number."""
    if isinstance(value, dict):
        space = " " * indent
        items = (f'{space}"{name}":{_release(item, indent + 4)}' for name, item in value.items())
        return "{\n" + ",\n".join(items) + "\n" + space[4:] + "}"
    if isinstance(value, int) or _is_number(value):
        return str(value)
    return '"' + _mangle(_escape(value)) + '"'


def _is_number(value: str) -> bool:
    text = value.strip()
    number = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)|0x[\da-f]+"
    if not re.fullmatch(number, text, re.IGNORECASE):
        return False
    return not value.startswith("0") or (text[:2] != "0x" and float(text) < 1)


def _escape(value: str) -> str:
    text = value
    for letter, escaped in zip("\b\f\n\r\t", "bfnrt", strict=True):
        text = text.replace(letter, f"\\{escaped}")
    text = re.sub(r"\\([',])", r"\1", text)
    return re.sub(r'(?<!\\)"', r"\\\"", text)


def _mangle(text: str) -> str:
    """Show control characters with a caret, and so the bytes of others, in the C locale."""
    shown = bytearray()
    for byte in text.encode(errors="surrogateescape"):
        if byte >= 128 or (byte < 32 and byte not in (9, 10)):
            shown += bytes((94, (byte + 64) % 256))
        else:
            shown.append(byte)
    return shown.decode(errors="surrogateescape")


def full(job: Job, delimiter: str = "") -> str:
    """The text of `-f` or, with a delimiter, of `-F dsv`."""
    if delimiter:
        items = [f"Job Id: {job.identity}"]
        for name, resource, value in attributes(job):
            escaped = value.replace("\\", "\\\\").replace(delimiter, f"\\{delimiter}")
            items.append(f"{name}{f'.{resource}' if resource else ''}={escaped}")
        return delimiter.join(items) + "\n"
    lines = [f"Job Id: {job.identity}"]
    for name, resource, value in attributes(job):
        label = f"{name}{f'.{resource}' if resource else ''}"
        lines.append(f"    {label} = {_wrapped(value, len(label) + 7)}")
    return "\n".join(lines) + "\n\n"


def _wrapped(value: str, start: int) -> str:
    """Broken before column 79, at commas where that is possible (see prt_attr)."""
    text = ""
    for position, part in enumerate(value.split(",")):
        text += "," if position else ""
        if len(part) + start < _LINE:
            text += part
            start += len(part)
            continue
        if position:
            text += "\n\t"
            start = 9
        for letter in part:
            text += letter
            start += 1
            if start > _LINE:
                text += "\n\t"
                start = 8
    return text


_ALTERNATE = f"""
{SERVER}: 
                                                            Req'd  Req'd   Elap
Job ID          Username Queue    Jobname    SessID NDS TSK Memory Time  S Time
--------------- -------- -------- ---------- ------ --- --- ------ ----- - -----
"""  # noqa: W291


def alternate(jobs: Sequence[Job]) -> str:
    """The table of `-a` and `-u`."""
    rows = [_ALTERNATE]
    for job in jobs:
        asked = job.resources
        elapsed = clock(job.usage.seconds)[:5] if job.usage is not None else " -- "
        rows.append(
            f"{job.identity:<15.15} {job.owner.partition('@')[0]:<8.8} {job.queue:<8.8} "
            f"{job.submission.name:<10.10} {job.session or ' -- ':>6} {asked['nodect']:>3} "
            f"{asked['ncpus']:>3} {asked.get('mem', ' -- '):>6.6} "
            f"{asked.get('walltime', ' -- ')[:5]:>5} {job.state} {elapsed:>5}\n"
        )
    return "".join(rows)


def table(jobs: Sequence[Job]) -> str:
    """The table of plain qstat."""
    lines = [
        "Job id            Name             User              Time Use S Queue",
        "----------------  ---------------- ----------------  -------- - -----",
    ]
    for job in jobs:
        used = {resource: value for name, resource, value in attributes(job) if resource == "cput"}
        name = job.submission.name
        name = f"{name[:15]}*" if len(name) >= 16 else name
        identity = job.identity if len(job.identity) <= 17 else f"{job.identity[:16]}*"
        user = job.owner.partition("@")[0]
        time_used = used.get("cput", "0")
        lines.append(
            f"{identity:<17} {name:<16} {user:<16}  {time_used:>8} {job.state:>1} {job.queue:<16}"
        )
    return "\n".join(lines) + "\n"
