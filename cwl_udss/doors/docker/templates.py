# SPDX-License-Identifier: Apache-2.0
"""Go templates, as far as callers write them for --format: https://pkg.go.dev/text/template.

Fields (`{{.State.Status}}`), `json`, `index`, `len`, `join`, `upper`, `lower`, `println`, pipes of
these, `if`, `range`, and `table` before a line of columns. Anything else is refused by its name. No
package on PyPI reads them without Go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cwl_udss.doors.docker.errors import UsageError

_ACTION = re.compile(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\(|\)|\||[^\s()|"`]+')
_ESCAPES = {r"\t": "\t", r"\n": "\n"}


def formatted(template: str, items: Iterable[Any]) -> str:
    """Return each item as a template has it, a line each; with `table ` before it there is a line
    of titles, and columns. Raises UsageError for a template that is none, or not for this."""
    text = template
    for written, meant in _ESCAPES.items():  # as a shell hands on what was meant for Go
        text = text.replace(written, meant)
    if text == "json":
        text = "{{json .}}"
    if not text.startswith("table "):
        parsed = _parse(text)
        return "".join(f"{_text(parsed, item)}\n" for item in items)
    columns = text.removeprefix("table ").split("\t")
    rows = [[_title(column) for column in columns]]
    parts = [_parse(column) for column in columns]
    rows += [[_text(part, item) for part in parts] for item in items]
    return as_table(rows)


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Return lines of columns, as these programs print them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "   ".join(word.ljust(width) for word, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


@dataclass(frozen=True)
class _Block:
    """`if` or `range`, with what is in it."""

    kind: str
    words: tuple[str, ...]
    body: tuple[_Part, ...]
    otherwise: tuple[_Part, ...]


@dataclass(frozen=True)
class _Value:
    """An action that stands for a text."""

    words: tuple[str, ...]


_Part = str | _Value | _Block


def _parse(template: str) -> tuple[_Part, ...]:
    pieces: list[str | tuple[str, ...]] = []
    end, trims = 0, False
    for match in _ACTION.finditer(template):
        before = template[end : match.start()]
        before = before.lstrip() if trims else before
        pieces.append(before.rstrip() if match[1] else before)
        if not match[2].startswith("/*"):
            pieces.append(tuple(_WORD.findall(match[2])))
        end, trims = match.end(), bool(match[3])
    rest = template[end:]
    pieces.append(rest.lstrip() if trims else rest)
    if "{{" in rest:
        raise UsageError(f"template parsing error: {template!r} has an action that does not end")
    body, rest_pieces, stop = _body(pieces)
    if stop or rest_pieces:
        raise UsageError(f"template parsing error: unexpected {{{{{stop}}}}}")
    return body


_Pieces = list[str | tuple[str, ...]]


def _body(pieces: _Pieces) -> tuple[tuple[_Part, ...], _Pieces, str]:
    """What there is up to `end` or `else`, what is left, and which of them it was."""
    parts: list[_Part] = []
    while pieces:
        piece, *pieces = pieces
        if isinstance(piece, str):
            parts.append(piece)
        elif piece[:1] in (("end",), ("else",)):
            return tuple(parts), pieces, piece[0]
        elif piece[:1] in (("if",), ("range",)):
            body, pieces, stop = _body(pieces)
            otherwise: tuple[_Part, ...] = ()
            if stop == "else":
                otherwise, pieces, stop = _body(pieces)
            if stop != "end":
                raise UsageError("template parsing error: unexpected EOF")
            parts.append(_Block(piece[0], piece[1:], body, otherwise))
        else:
            parts.append(_Value(piece))
    return tuple(parts), [], ""


def _text(parts: Iterable[_Part], dot: Any) -> str:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        elif isinstance(part, _Value):
            text += _shown(_pipeline(part.words, dot))
        else:
            value = _pipeline(part.words, dot)
            if part.kind == "if":
                text += _text(part.body if value else part.otherwise, dot)
            elif value:
                each = value.values() if isinstance(value, Mapping) else value
                text += "".join(_text(part.body, item) for item in each)
            else:
                text += _text(part.otherwise, dot)
    return text


def _pipeline(words: Sequence[str], dot: Any) -> Any:
    """The value of commands with `|` between them, each the last argument of the next."""
    value: list[Any] = []
    commands: list[list[str]] = [[]]
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if word == "|" and not depth:
            commands.append([])
        else:
            commands[-1].append(word)
    for command in commands:
        value = [_command(command, value, dot)]
    return value[0]


def _command(words: Sequence[str], before: list[Any], dot: Any) -> Any:
    if not words:
        raise UsageError("template parsing error: missing value for command")
    name, *rest = words
    if name in _FUNCTIONS:
        arguments = [*_operands(rest, dot), *before]
        try:
            return _FUNCTIONS[name](*arguments)
        except (TypeError, KeyError, IndexError) as error:
            raise UsageError(f"template: {name} cannot be done with this ({error})") from error
    operands = _operands(words, dot)
    if len(operands) != 1:
        raise UsageError(f'template parsing error: function "{name}" not defined')
    return operands[0]


def _operands(words: Sequence[str], dot: Any) -> list[Any]:
    found: list[Any] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "(":
            depth, inner = 1, []
            while rest and depth:
                depth += (rest[0] == "(") - (rest[0] == ")")
                inner.append(rest.pop(0))
            found.append(_pipeline(inner[:-1], dot))
        else:
            found.append(_operand(word, dot))
    return found


def _operand(word: str, dot: Any) -> Any:
    if word.startswith('"'):
        return json.loads(word)
    if word.startswith("`"):
        return word[1:-1]
    if re.fullmatch(r"-?\d+", word):
        return int(word)
    if word in ("true", "false"):
        return word == "true"
    if word == ".":
        return dot
    if not word.startswith("."):
        raise UsageError(f'template parsing error: function "{word}" not defined')
    value = dot
    for name in word[1:].split("."):
        value = _field(value, name)
    return value


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
        # podman has other capitals in some (ID, Id).
        for other in value:
            if other.lower() == name.lower():
                return value[other]
    raise UsageError(f"template: can't evaluate field {name} in this")


def _shown(value: Any) -> str:
    """As Go prints it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return f"[{' '.join(map(_shown, value))}]"
        case Mapping():
            return f"map[{' '.join(f'{name}:{_shown(value[name])}' for name in sorted(value))}]"
        case _:
            return str(value)


def _title(column: str) -> str:
    names = re.findall(r"\.(\w+)", column)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", names[-1]).upper() if names else ""


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value[key]
    return value


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    "index": _index,
    "len": len,
    "join": lambda value, separator: separator.join(value),
    "upper": str.upper,
    "lower": str.lower,
    "println": lambda *values: f"{' '.join(map(_shown, values))}\n",
    "print": lambda *values: "".join(map(_shown, values)),
    "not": lambda value: not value,
    "eq": lambda value, *others: value in others,
    "ne": lambda value, other: value != other,
}
