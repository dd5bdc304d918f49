# SPDX-License-Identifier: Apache-2.0
"""What a Dockerfile says."""

from __future__ import annotations

import pytest

from cwl_udss.errors import ImageError
from cwl_udss.images.dockerfiles.dockerfile import (
    Instruction,
    expand,
    pairs,
    parse_dockerfile,
    words,
)

VARIABLES = {"a": "1", "b": "two words", "empty": "", "quote": "it's"}


def instructions(text: str) -> list[tuple[int, str, str]]:
    (stage,) = parse_dockerfile(f"FROM scratch\n{text}").stages
    return [(each.line, each.name, each.text) for each in stage.instructions]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN true", [(2, "RUN", "true")]),
        ("run\ttrue", [(2, "RUN", "true")]),
        ("# comment\n\n  RUN true\n", [(4, "RUN", "true")]),
        ("RUN a \\\n  b", [(2, "RUN", "a   b")]),
        ("RUN a \\  \n# comment\n\n  b\nRUN c", [(2, "RUN", "a   b"), (6, "RUN", "c")]),
        ("RUN echo '#' x", [(2, "RUN", "echo '#' x")]),
    ],
)
def test_lines(text: str, expected: list[tuple[int, str, str]]) -> None:
    assert instructions(text) == expected


def test_the_escape_character_can_be_another() -> None:
    dockerfile = parse_dockerfile("# escape=`\nFROM scratch\nRUN a `\n b \\\nRUN c")
    assert [each.text for each in dockerfile.stages[0].instructions] == ["a  b \\", "c"]


def test_stages_and_arguments() -> None:
    dockerfile = parse_dockerfile(
        "ARG V=1\nFROM --platform=linux/amd64 a:$V AS First\nRUN x\nFROM b\nFROM first as c"
    )
    assert [each.text for each in dockerfile.arguments] == ["V=1"]
    assert [(stage.base, stage.name) for stage in dockerfile.stages] == [
        ("a:$V", "first"),
        ("b", "1"),
        ("first", "c"),
    ]
    assert dockerfile.stages[0].start.flags == (("platform", "linux/amd64"),)


def test_here_documents() -> None:
    (stage,) = parse_dockerfile(
        "FROM scratch\nCOPY --chmod=755 <<A <<-'B' /x/\none\n\nA\n\ttwo\n\tB\nRUN true"
    ).stages
    copy, run = stage.instructions
    assert copy.flags == (("chmod", "755"),)
    assert [(each.name, each.content, each.is_expanded) for each in copy.heredocs] == [
        ("A", "one\n\n", True),
        ("B", "two\n", False),
    ]
    assert run.line == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a", "1"),
        ("x${a}y$", "x1y$"),
        ("${none:-${a}}", "1"),
        ("${a:-x}${empty:-y}", "1y"),
        ("${a:+x}${empty:+y}", "x"),
        ("'$a' \\$a", "'$a' \\$a"),
        ('"it\'s $a"', '"it\'s 1"'),
        ("$none", ""),
    ],
)
def test_variables(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=$b", ["x=two words"]),
        ('x="$b"', ["x=two words"]),
        ("x=$quote y=1", ["x=it's", "y=1"]),
        ("a\\ b 'c d'", ["a b", "c d"]),
    ],
)
def test_values_are_not_split_again(text: str, expected: list[str]) -> None:
    assert words(expand(text, VARIABLES)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1 B='x y'", [("A", "1"), ("B", "x y")]),
        ("A the rest of it", [("A", "the rest of it")]),
        ("A=x=y", [("A", "x=y")]),
        ("A=", [("A", "")]),
    ],
)
def test_pairs(text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(Instruction(line=1, name="ENV", flags=(), text=text), text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM"),
        ("RUN x\nFROM y", "line 1: RUN comes before FROM"),
        ("FROM x\nRUM y", "line 2: there is no instruction RUM"),
        ("FROM x\nRUN", "line 2: RUN without arguments"),
        ("FROM x y", "line 1: FROM wants"),
        ("FROM x\n\nRUN <<E\nz", "line 3: the here-document E does not end"),
    ],
)
def test_mistakes_name_their_line(text: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        parse_dockerfile(text)
