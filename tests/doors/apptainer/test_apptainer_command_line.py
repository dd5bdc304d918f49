# SPDX-License-Identifier: Apache-2.0
"""What may be typed: options, variables that stand for them, mounts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from cwl_udss.doors.apptainer.command_line.action_options import ACTION, GLOBAL, SHELL
from cwl_udss.doors.apptainer.command_line.binds import parse_binds, parse_mounts
from cwl_udss.doors.apptainer.command_line.option import Kind, Treatment
from cwl_udss.doors.apptainer.command_line.parser import (
    Given,
    UsageError,
    parse,
    split_assignments,
    split_values,
)
from cwl_udss.doors.apptainer.commands import COMMANDS
from cwl_udss.errors import UdssError
from cwl_udss.sandbox import Bind


def action(*arguments: str, **variables: str) -> Given:
    return parse(ACTION, arguments, variables, least=0, stops=True)


def test_options_end_at_the_first_word() -> None:
    given = action("--nv=false", "-ecB/a:/b", "-B", "/c", "image", "tool", "--nv", "-x", "--", "y")
    assert given.flag("cleanenv")
    assert given.flag("contain")
    assert given.list("bind") == ("/a:/b", "/c")
    assert given.words == ("image", "tool", "--nv", "-x", "--", "y")


def test_a_value_is_behind_a_blank_or_an_equals_sign() -> None:
    for words in (("--pwd", "/a b"), ("--pwd=/a b",)):
        assert action(*words, "image").value("pwd") == "/a b"
    assert action("-H", "/x:/y", "image").value("home") == "/x:/y"
    assert action("-B", "/x y:/data", "image").list("bind") == ("/x y:/data",)


def test_dashes_end_options() -> None:
    assert action("--", "image", "-e").words == ("image", "-e")
    assert action("image", "--", "-e").words == ("image", "--", "-e")
    assert action("--").words == ()


@pytest.mark.parametrize(
    "arguments", [("--nope", "i"), ("--con", "i"), ("-Z", "i"), ("--nv=x", "i")]
)
def test_an_option_that_is_none(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        action(*arguments)


def test_how_many_words_there_must_be() -> None:
    with pytest.raises(UsageError, match=r"requires at least 2 arg\(s\), only received 1"):
        parse(ACTION, ["image"], {}, least=2, stops=True)
    pull = COMMANDS["pull"]
    with pytest.raises(UsageError, match="accepts between 1 and 2"):
        parse(pull.options, ["a", "b", "c"], {}, least=pull.least, most=pull.most)


def test_options_of_pull_may_follow_its_words() -> None:
    given = parse(COMMANDS["pull"].options, ["x.sif", "docker://a", "-F"], {}, least=1, most=2)
    assert given.flag("force")
    assert given.words == ("x.sif", "docker://a")


def test_a_variable_stands_for_an_option() -> None:
    given = action(
        "image", SINGULARITY_PWD="/x", APPTAINER_NO_HOME="1", SINGULARITY_SCRATCH="/a, /b"
    )
    assert (given.value("pwd"), given.flag("no-home")) == ("/x", True)
    assert given.list("scratch") == ("/a", "/b")


def test_what_is_typed_is_stronger_than_a_variable() -> None:
    assert action("--pwd=/y", "image", APPTAINER_PWD="/x").value("pwd") == "/y"
    assert action("image", APPTAINER_PWD="/x", SINGULARITY_PWD="/y").value("pwd") == "/x"


@pytest.mark.parametrize("name", ["APPTAINER_BIND", "SINGULARITY_BINDPATH", "SINGULARITY_BIND"])
def test_mounts_of_a_variable_come_after_those_typed(name: str) -> None:
    assert action("-B", "/a", "image", **{name: "/b:/c,/d"}).list("bind") == ("/a", "/b:/c,/d")


def test_what_modules_set_is_no_option() -> None:
    given = action("image", SINGULARITY_CONTAINER="x.sif", SINGULARITY_NAME="x", APPTAINER_BIND=" ")
    assert dict(given.options) == {}


def test_a_variable_that_is_neither_true_nor_false() -> None:
    with pytest.raises(UsageError, match="unable to set flag contain to value perhaps"):
        action("image", APPTAINER_CONTAIN="perhaps")
    assert not action("image", APPTAINER_CONTAIN="0").flag("contain")


OF_ALL = {command: entry.options for command, entry in COMMANDS.items()} | {"": GLOBAL}


@pytest.mark.parametrize("command", OF_ALL)
def test_every_option_is_what_it_says(command: str, caplog: pytest.LogCaptureFixture) -> None:
    """Refused by name, or taken; and who asks for more than is done is told."""
    for option in OF_ALL[command]:
        typed = [f"--{option.name}", *([] if option.kind is Kind.FLAG else ["x"])]
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "cwl_udss"):
            try:
                given = parse(OF_ALL[command], typed, {}, least=0, stops=command in ("", "exec"))
            except UdssError as error:
                assert option.treatment is Treatment.REFUSED
                assert f"--{option.name}" in str(error)
                continue
        assert given.options[option.name]
        levels = {record.levelname for record in caplog.records}
        assert levels == {
            Treatment.HONOURED: set(),
            Treatment.IGNORED: {"DEBUG"},
            Treatment.WARNED: {"WARNING"},
        }.get(option.treatment)


def test_no_option_is_there_twice() -> None:
    for options in (*OF_ALL.values(), SHELL):
        names = [option.name for option in options] + [o.short for o in options if o.short]
        assert sorted(names) == sorted({*names})


def test_a_list_has_commas() -> None:
    assert split_values(["a,b", '"c,d",e']) == ("a", "b", "c,d", "e")


def test_assignments() -> None:
    assert split_assignments(["A=b,C=d", "E=f,g", "H="]) == {
        "A": "b",
        "C": "d",
        "E": "f,g",
        "H": "",
    }
    with pytest.raises(UsageError, match="must be formatted as key=value"):
        split_assignments(["A"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A directory with `a`, `b c`, `d,e` and `f:g`, in which the caller is."""
    for name in ("a", "b c", "d,e", "f:g"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("text", "binds"),
    [
        ("{}/a", [("a", "{}/a", True)]),
        ("a:/x", [("a", "/x", True)]),
        ("a:/x:ro", [("a", "/x", False)]),
        ("a:/x:rw", [("a", "/x", True)]),
        ("a:/x:rw,ro", [("a", "/x", False)]),
        ("a:/x:ro,b c:/y", [("a", "/x", False), ("b c", "/y", True)]),
        ("a:/x , a:/y", [("a", "/x", True), ("a", "/y", True)]),
        (",a:/x,,", [("a", "/x", True)]),
        ("", []),
        ("a:/x/../y/", [("a", "/y", True)]),
        (r"d\,e:/x", [("d,e", "/x", True)]),
        (r"f\:g:/x:ro", [("f:g", "/x", False)]),
    ],
)
def test_what_is_mounted(text: str, binds: list[tuple[str, str, bool]], place: str) -> None:
    assert parse_binds([text.format(place)]) == tuple(
        Bind(source=f"{place}/{source}", destination=path.format(place), writable=writable)
        for source, path, writable in binds
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("::ro", "destination must be an absolute path"),
        ("a", "destination must be an absolute path"),
        ("a:x", "destination must be an absolute path"),
        ("nope:/x", "mount source {}/nope doesn't exist"),
        ("a:/x:foo", "foo is not a valid bind option"),
        ("a:/x:ro:/y", "bad bind syntax"),
        ("a:/x:image-src=/b", "what is in images"),
    ],
)
def test_what_cannot_be_mounted(text: str, said: str, place: str) -> None:
    with pytest.raises(UdssError) as raised:
        parse_binds([text])
    assert said.format(place) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "writable"),
    [
        ("type=bind,source={}/a,target=/x", True),
        ("src={}/a,dst=/x", True),
        ("type=bind,source={}/a,destination=/x,readonly", False),
        ("type=bind,source={}/a,destination=/x,ro=true", False),
        ('type=bind,"source={}/a",destination=/x', True),
    ],
)
def test_mounts_with_fields(text: str, writable: bool, place: str) -> None:
    [bind] = parse_mounts([text.format(place)])
    assert bind == Bind(source=f"{place}/a", destination="/x", writable=writable)


def test_a_variable_may_have_a_mount_a_line(place: str) -> None:
    lines = "source=a,target=/x\nsource=b c,target=/y\n"
    assert [bind.destination for bind in parse_mounts([lines])] == ["/x", "/y"]
    assert parse_mounts(['source=a,"target=/x,y"'])[0].destination == "/x,y"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type=tmpfs,target=/x", "unsupported mount type 'tmpfs'"),
        ("source=a,target=/x,foo=bar", "invalid key 'foo'"),
        ("source=a", "mounts must specify a source and a destination"),
        ("source=a,target=/x,image-src=/b", "what is in images"),
    ],
)
def test_mounts_that_are_none(text: str, said: str, place: str) -> None:
    with pytest.raises(UdssError, match=said):
        parse_mounts([text])
