# SPDX-License-Identifier: Apache-2.0
"""Which runtime is chosen, and what a person reads where none can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from machines import without_namespaces
from needs import need

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.choosing import choice
from cwl_udss.runtimes.choosing.choice import RuntimeFinder, bubblewrap_for, describe_choice
from cwl_udss.runtimes.choosing.table import RUNTIMES, Kind
from cwl_udss.runtimes.limits import HOST_NAME, METADATA
from cwl_udss.runtimes.proot.proot import Proot
from cwl_udss.sandbox import Limit

ALL = (METADATA.name,)
ENGINES = ("apptainer", "singularity", "podman")  # see test_engines.py
FIND = """
import os, sys
from cwl_udss.errors import UdssError
from cwl_udss.runtimes.choosing import choice
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
wanted, accepted, path = sys.argv[1:]
environment = {**os.environ, "PATH": path}
finder = RuntimeFinder(wanted, tuple(accepted.split()), None, None, environment)
try:
    print(type(finder.find()).__name__)
except UdssError as error:
    print(error)
"""


def found(*machine: str, wanted: str = "auto", accepted: str = "", path: str = "") -> str:
    """The name of the runtime that is chosen on a machine, or the reason why there is none."""
    done = subprocess.run(
        [*machine, sys.executable, "-c", FIND, wanted, accepted, path or os.environ["PATH"]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


def finder(wanted: str, *accepted: str, bwrap: str | None = None) -> RuntimeFinder:
    return RuntimeFinder(wanted, accepted, bwrap, None, os.environ)


def test_no_directory_in_which_programs_can_be_executed(tmp_path: Path, proot: Proot) -> None:
    nowhere = RuntimeFinder("proot", ALL, None, tmp_path / "none", os.environ)
    with pytest.raises(SandboxError, match="name another with --udss-scratch"):
        nowhere.find()


def test_bubblewrap_where_it_works() -> None:
    assert isinstance(finder("auto", *ALL).find(), Bubblewrap)
    assert finder("auto").find().limits == ()


def test_proot_for_who_wants_it(proot: Proot) -> None:
    runtime = finder("proot", *ALL).find()
    assert isinstance(runtime, Proot)
    assert all(limit.name in describe_choice(runtime) for limit in runtime.limits)


def test_but_not_without_a_word_on_what_it_does_not_keep(proot: Proot) -> None:
    with pytest.raises(SandboxError, match=f"type --udss-accept {METADATA.name}$"):
        finder("proot").find()


def test_a_bubblewrap_that_is_named_is_not_replaced() -> None:
    with pytest.raises(SandboxError, match="/no/such/bwrap cannot be executed"):
        finder("auto", *ALL, bwrap="/no/such/bwrap").find()


def test_without_namespaces_proot_is_offered_and_what_to_type(proot: Proot) -> None:
    refusal = found(*without_namespaces())
    assert "max_user_namespaces" in refusal
    assert "--udss-accept metadata-writable" in refusal


def test_without_namespaces_proot_if_that_is_accepted(proot: Proot) -> None:
    assert found(*without_namespaces(), accepted=METADATA.name) == "Proot"


def test_without_namespaces_bubblewrap_is_not_replaced_if_it_is_wanted() -> None:
    assert "no sandbox can be made" in found(
        *without_namespaces(), wanted="bwrap", accepted=METADATA.name
    )


def test_without_namespaces_and_without_proot(tmp_path: Path) -> None:
    refusal = found(*without_namespaces(), path=str(tmp_path))
    assert "there is no proot on this machine" in refusal
    assert "ask for `sysctl user.max_user_namespaces=15000` or install the package proot" in refusal


def test_a_proot_that_answers_and_does_nothing(tmp_path: Path, proot: Proot) -> None:
    shutil.copy("/bin/true", tmp_path / "proot")  # which has a version, too
    refusal = found(wanted="proot", accepted=METADATA.name, path=f"{tmp_path}:{os.environ['PATH']}")
    assert f"no sandbox can be made with {tmp_path}/proot" in refusal


def test_what_only_bubblewrap_does_it_does_also_for_who_has_chosen_another(proot: Proot) -> None:
    assert isinstance(bubblewrap_for("building an image", proot), Bubblewrap)
    bubblewrap = finder("bwrap").find()
    assert bubblewrap_for("building an image", bubblewrap) is bubblewrap


def test_the_machine_of_these_tests_is_as_it_was() -> None:
    assert shutil.which("unshare")
    assert subprocess.run(["unshare", "-Ur", "true"], check=False).returncode == 0


@pytest.mark.parametrize("name", [name for name in RUNTIMES if name not in ENGINES])
def test_what_a_runtime_does_not_keep_is_in_the_table_of_all(name: str) -> None:
    try:
        limits = finder(name).try_runtime(name).limits
    except SandboxError as error:
        need(f"{name} does not work here: {error}")
    assert set(limits) <= set(RUNTIMES[name].limits)


def test_what_the_site_requires_cannot_be_accepted(proot: Proot) -> None:
    by = {METADATA.name: "/etc/cwl-udss/config.toml"}
    with pytest.raises(SandboxError) as raised:
        RuntimeFinder("proot", ALL, None, None, os.environ, by).find()
    assert "which is forbidden here (metadata-writable by /etc/cwl-udss/config.toml)" in str(
        raised.value
    )
    assert "--udss-accept" not in str(raised.value)


def test_what_the_site_requires_may_be_more_than_what_must_be_accepted(proot: Proot) -> None:
    by = {HOST_NAME.name: "$CWL_UDSS_REQUIRED"}
    with pytest.raises(SandboxError, match="this machine's name; which is forbidden here"):
        RuntimeFinder("proot", ALL, None, None, os.environ, by).find()
    auto = RuntimeFinder("auto", ALL, None, None, os.environ, by)
    assert isinstance(auto.find(), Bubblewrap)


@dataclass(frozen=True)
class Described:
    """A runtime of which only the limits matter."""

    description: str
    limits: tuple[Limit, ...] = ()


@pytest.mark.parametrize(
    ("there", "accepted", "required", "chosen"),
    [
        pytest.param({"a": [], "b": []}, "", "", "a", id="first"),
        pytest.param({"a": "WL", "b": []}, "WL", "", "b", id="none of what is accepted, if it can"),
        pytest.param({"a": "L", "b": []}, "", "", "b", id="all rather than most"),
        pytest.param({"a": "W", "b": "L"}, "W", "", "b", id="the fewest weaknesses"),
        pytest.param({"a": "WV", "b": "W", "c": "V"}, "WV", "", "b", id="the first of these"),
        pytest.param({"a": "W", "b": "VX"}, "VX", "", "b", id="one that is accepted"),
        pytest.param({"a": "L", "b": "W"}, "W", "L", "b", id="one that is allowed"),
        pytest.param({"a": "W", "b": "VX"}, "", "", "type --udss-accept W$", id="least to accept"),
        pytest.param({"a": "W", "b": "VX"}, "W", "W", "type --udss-accept V ", id="if allowed"),
        pytest.param({"a": "W"}, "W", "W", "forbidden here .W by the site.", id="nothing allowed"),
    ],
)
def test_the_choice_among_several(
    there: dict[str, str],
    accepted: str,
    required: str,
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def kind(name: str, limits: str) -> Kind:
        found = tuple(Limit(name=limit, text=limit, is_weakness=limit != "L") for limit in limits)
        return Kind(lambda machine: cast(Any, Described(name, found)))

    monkeypatch.setattr(choice, "RUNTIMES", {name: kind(name, there[name]) for name in there})
    by = dict.fromkeys(required, "the site")
    several = RuntimeFinder("auto", tuple(accepted), None, tmp_path, {}, by)
    if chosen in there:
        assert several.find().description == chosen
    else:
        with pytest.raises(SandboxError, match=chosen):
            several.find()
