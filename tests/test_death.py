# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed at any moment leave nothing half-made, and nothing for ever."""

from __future__ import annotations

import os
import random
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from images.registry_server import Registry, serve
from images.tar_layers import directory, entry, file, gzipped, symlink
from mortal import Mortals, Outcome, mortals, remaining
from workflows import write_chain

from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.maintenance import verify
from cwl_udss.images.store.store import Store

DEATHS = 100
STEPS = 3


@pytest.fixture(scope="module")
def own_registry(busybox_root: Path) -> Iterator[Registry]:
    program = (busybox_root / "bin/busybox").read_bytes()
    layer = gzipped(
        directory("bin"),
        entry("bin/busybox", tarfile.REGTYPE, program, mode=0o755),
        *(symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "printf", "sleep")),
        entry("large", tarfile.REGTYPE, os.urandom(1 << 20)),
        *(file(f"f{number}", "x") for number in range(200)),
    )
    with serve(Registry()) as running:
        for tag in ("1", "1.36"):
            running.add_image(tag, layer)
        yield running


@pytest.fixture(params=["directory", "squashfs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "store", format=ImageFormat(request.param))


@pytest.fixture
def commands(
    environment: dict[str, str], store: Store, own_registry: Registry, tmp_path: Path
) -> Iterator[Mortals]:
    configuration = tmp_path / "registries.conf"
    configuration.write_text(
        'unqualified-search-registries = ["docker.io"]\n'
        f'[[registry]]\nprefix = "docker.io/library"\nlocation = "{own_registry.address}"\n'
        "insecure = true\n"
    )
    (tmp_path / "scratch").mkdir()
    variables = {
        "CONTAINERS_REGISTRIES_CONF": str(configuration),
        "CWL_UDSS_STORE": str(store.path),
        "CWL_UDSS_FORMAT": store.format.value,
        "CWL_UDSS_SCRATCH": str(tmp_path / "scratch"),
        "TMPDIR": str(tmp_path / "scratch"),
    }
    with mortals(tmp_path, {**environment, **variables}) as started:
        yield started
    assert remaining(str(tmp_path)) == []


def moments(longest: float) -> Iterator[float]:
    """Random ones; the seed is shown by a test that fails."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    numbers = random.Random(seed)
    return (numbers.uniform(0, longest) for _ in range(DEATHS))


def all_below(*places: Path) -> set[str]:
    return {str(path) for place in places for path in place.rglob("*")}


def damaged(store: Store) -> list[str]:
    return [str(found.quarantined) for found in verify(store) if found.quarantined]


@pytest.mark.parametrize("what", ["puller", "converter"])
def test_death_of_a(
    what: str,
    commands: Mortals,
    store: Store,
    own_registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"{own_registry.address}/image:1"
    options = ["--udss-keep-layers"] if what == "converter" else []
    pull = ("cwl-udss", "images", "pull", *options, name)
    remove = ("cwl-udss", "images", "rm", name)
    for _ in range(2):  # the second does not need to make the directories
        undisturbed = commands.run(*pull)
        assert undisturbed.code == 0, undisturbed.said
        expected = all_below(store.path)
        assert commands.run(*remove).code == 0
    if what == "converter":
        monkeypatch.setattr(own_registry, "break_after", 0)  # whoever downloads is cut off
        monkeypatch.setattr(own_registry, "breaks", 0)
    for moment in moments(undisturbed.seconds):
        commands.run(*pull, moment=moment)
        assert damaged(store) == []
        again = commands.run(*pull)
        assert again.code == 0, again.said
        assert damaged(store) == []
        # A turn whose work is done is in nobody's way, and waits for `cwl-udss clean`.
        assert all_below(store.path) - all_below(store.path / "leases") == expected
        assert commands.run(*remove).code == 0
    assert commands.run("cwl-udss", "clean").code == 0
    assert all_below(store.path / "leases") == set()


@pytest.mark.parametrize("victim", ["driver", "step"])
def test_death_of_a_run(victim: str, commands: Mortals, store: Store, tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.cwl", STEPS)

    def run(trial: Path, moment: float | None = None) -> Outcome:
        options = ("--udss", "--cachedir", trial / "cache", "--outdir", trial / "out")
        return commands.run(
            "cwltool", *options, tmp_path / "chain.cwl", moment=moment, victim=victim
        )

    def left(trial: Path) -> set[str]:
        below = {str(Path(path).relative_to(trial)) for path in all_below(trial)}
        return below | all_below(store.path, *(tmp_path / "scratch").glob("*/runs"))

    for name in ("first", "undisturbed"):  # the first pulls the image
        undisturbed = run(tmp_path / name)
        assert undisturbed.code == 0, undisturbed.said
    expected = left(tmp_path / "undisturbed")
    for number, moment in enumerate(moments(undisturbed.seconds)):
        trial = tmp_path / str(number)
        died = run(trial, moment)
        assert "Traceback" not in died.said
        again = run(trial)
        assert again.code == 0, again.said
        assert (trial / "out/out").read_text() == "x" * STEPS
        finished = re.findall(r"\[job \w+\] completed success", died.said)
        assert again.said.count("result from the cache") >= len(finished)
        assert left(trial) == expected
    assert damaged(store) == []
