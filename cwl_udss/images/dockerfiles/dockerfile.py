# SPDX-License-Identifier: Apache-2.0
"""Reads a Dockerfile: text in, stages of instructions out. Nothing is run here.

https://docs.docker.com/reference/dockerfile/. The library dockerfile-parse knows no here-documents,
no flags and no `${name:-default}`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cwl_udss.errors import ImageError

INSTRUCTIONS = frozenset(
    (
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"),
        *("LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
        "WORKDIR",
    )
)
_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=\s*(\S+)\s*$", re.IGNORECASE)
_HEREDOC = re.compile(r"""<<(-?)(["']?)([A-Za-z_][A-Za-z0-9_]*)\2""")
_FLAG = re.compile(r"--([a-z]+)(?:=(\S*))?\s*")
_VARIABLE = re.compile(r"(\w+)(?::([-+])(.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Heredoc:
    """A here-document of an instruction."""

    name: str
    content: str
    is_expanded: bool
    """Not quoted: variables in it have their values."""


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """An instruction as it is written, its lines joined."""

    line: int
    """Of its first line, from 1."""
    name: str
    flags: tuple[tuple[str, str], ...]
    text: str
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A FROM, and what follows it."""

    start: Instruction
    base: str
    name: str
    """Its AS, else its number."""
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, kw_only=True)
class Dockerfile:
    """All of it."""

    arguments: tuple[Instruction, ...]
    """ARGs before the first FROM, which stand in FROMs."""
    stages: tuple[Stage, ...]
    escape: str


def problem(line: int, text: str, advice: str = "") -> ImageError:
    """Return the error for a line of the Dockerfile."""
    return ImageError(f"Dockerfile line {line}: {text}", advice)


def parse_dockerfile(text: str) -> Dockerfile:
    """Parse a Dockerfile. Raises ImageError that names the line."""
    lines = text.splitlines()
    escape = _escape(lines)
    arguments: list[Instruction] = []
    stages: list[Stage] = []
    for instruction in _instructions(lines, escape):
        if instruction.name == "FROM":
            stages.append(_stage(instruction, len(stages)))
        elif stages:
            last = stages[-1]
            stages[-1] = replace(last, instructions=(*last.instructions, instruction))
        elif instruction.name == "ARG":
            arguments.append(instruction)
        else:
            raise problem(instruction.line, f"{instruction.name} comes before FROM")
    if not stages:
        raise ImageError("the Dockerfile has no FROM", "begin it with FROM and an image")
    return Dockerfile(arguments=tuple(arguments), stages=tuple(stages), escape=escape)


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Put variables' values into a text: `$name`, `${name}`, `${name:-default}`, `${name:+value}`.

    Not between single quotes, nor after the escape character. Quotes and escapes stay, and values
    are escaped, so that words() then splits what was written and not what the values hold.
    Raises ValueError for `${` that is not closed.
    """
    result: list[str] = []
    position, quote = 0, ""
    while position < len(text):
        character = text[position]
        if character == escape and quote != "'" and position + 1 < len(text):
            result.append(text[position : position + 2])
            position += 2
        elif character == "$" and quote != "'":
            value, position = _variable(text, position + 1, variables, escape)
            # In double quotes an escape before anything else would stay: shlex, sh(1).
            special = {'"', escape} if quote else {'"', "'", escape, " ", "\t", "\n"}
            result += [f"{escape}{c}" if c in special else c for c in value]
        else:
            if character in "\"'" and quote in ("", character):
                quote = "" if quote else character
            result.append(character)
            position += 1
    return "".join(result)


def _variable(text: str, start: int, variables: Mapping[str, str], escape: str) -> tuple[str, int]:
    """The value of the variable whose name begins at `start`, and where the text goes on."""
    if text[start : start + 1] != "{":
        name = re.compile(r"[A-Za-z_]\w*").match(text, start)
        if name is None:
            return "$", start
        return variables.get(name[0], ""), name.end()
    end, depth = start + 1, 1
    while depth:
        if end >= len(text):
            raise ValueError(f"{text[start - 1 :]!r} is not closed")
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    found = _VARIABLE.fullmatch(text[start + 1 : end - 1])
    if found is None:
        raise ValueError(f"{text[start - 1 : end]!r} is no variable")
    name_, operator, word = found.groups()
    value = variables.get(name_, "")
    if operator == "-" and not value:
        value = " ".join(words(expand(word, variables, escape), escape))
    elif operator == "+":
        value = " ".join(words(expand(word, variables, escape), escape)) if value else ""
    return value, end


def words(text: str, escape: str = "\\") -> list[str]:
    """Split a text as a shell would. Raises ValueError for a quote that is not closed."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", escape
    return list(lexer)


def pairs(instruction: Instruction, text: str, escape: str = "\\") -> list[tuple[str, str]]:
    """Return what ENV and LABEL set: `name=value …`, or the old `name value`."""
    first = text.split(maxsplit=1)
    if "=" not in (first or [""])[0]:
        if len(first) < 2:
            raise problem(instruction.line, f"{instruction.name} without a value")
        return [(first[0], first[1])]
    found = [word.partition("=") for word in words(text, escape)]
    if not all(name and equals for name, equals, _ in found):
        raise problem(instruction.line, f"{instruction.name} wants name=value")
    return [(name, value) for name, _, value in found]


def exec_form(text: str) -> tuple[str, ...] | None:
    """Return the words of a JSON array, None if it is none (and thus the shell form)."""
    try:
        array = json.loads(text)
    except ValueError:
        return None
    if isinstance(array, list) and all(isinstance(word, str) for word in array):
        return tuple(array)
    return None


def _escape(lines: Sequence[str]) -> str:
    """Parser directives stand before everything else, comments too."""
    for line in lines:
        directive = _DIRECTIVE.match(line.strip())
        if directive is None:
            break
        if directive[1].lower() == "escape":
            if directive[2] not in ("\\", "`"):
                raise problem(1, f"escape={directive[2]} is neither \\ nor `")
            return directive[2]
    return "\\"


def _instructions(lines: Sequence[str], escape: str) -> list[Instruction]:
    found = []
    position = 0
    while position < len(lines):
        stripped = lines[position].strip()
        if not stripped or stripped.startswith("#"):
            position += 1
            continue
        first = position + 1
        text, position = _joined(lines, position, escape)
        instruction = _instruction(first, text)
        if instruction.name in ("RUN", "COPY", "ADD"):
            heredocs, position = _heredocs(lines, position, instruction)
            instruction = replace(instruction, heredocs=heredocs)
        found.append(instruction)
    return found


def _joined(lines: Sequence[str], position: int, escape: str) -> tuple[str, int]:
    """An instruction's lines in one; comments and empty lines between them do not count."""
    parts: list[str] = []
    while position < len(lines):
        line = lines[position]
        position += 1
        if parts and (not line.strip() or line.strip().startswith("#")):
            continue
        if not line.rstrip().endswith(escape):
            parts.append(line)
            break
        parts.append(line.rstrip()[: -len(escape)])
    return "".join(parts).strip(), position


def _instruction(line: int, text: str) -> Instruction:
    name, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    name, rest = name.upper(), rest.strip()
    if name not in INSTRUCTIONS:
        raise problem(line, f"there is no instruction {name}", "look at its spelling")
    if not rest:
        raise problem(line, f"{name} without arguments")
    flags = []
    if name in ("FROM", "RUN", "COPY", "ADD", "HEALTHCHECK"):
        while (flag := _FLAG.match(rest)) is not None:
            flags.append((flag[1], flag[2] or ""))
            rest = rest[flag.end() :]
    return Instruction(line=line, name=name, flags=tuple(flags), text=rest)


def _heredocs(
    lines: Sequence[str], position: int, instruction: Instruction
) -> tuple[tuple[Heredoc, ...], int]:
    found = []
    for dash, quote, name in _HEREDOC.findall(instruction.text):
        body = []
        while True:
            if position >= len(lines):
                raise problem(instruction.line, f"the here-document {name} does not end")
            line = lines[position].lstrip("\t") if dash else lines[position]
            position += 1
            if line == name:
                break
            body.append(f"{line}\n")
        found.append(Heredoc(name=name, content="".join(body), is_expanded=not quote))
    return tuple(found), position


def _stage(start: Instruction, number: int) -> Stage:
    parts = start.text.split()
    name = str(number)
    if len(parts) == 3 and parts[1].upper() == "AS":
        name = parts[2].lower()
    elif len(parts) != 1:
        raise problem(start.line, "FROM wants an image, or an image AS a name")
    return Stage(start=start, base=parts[0], name=name, instructions=())
