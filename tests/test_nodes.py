# SPDX-License-Identifier: Apache-2.0
"""Many nodes share one store, whatever its filesystem's locks and clocks say."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import COMMANDS
from images.registry_server import Registry, serve
from images.tar_layers import directory, entry, file, gzipped, symlink
from nodes import Node, finish, leftovers, lock_library, make_node

from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap

NODES = 16


@pytest.fixture(scope="module")
def busybox_layer(busybox_root: Path) -> bytes:
    program = (busybox_root / "bin/busybox").read_bytes()
    return gzipped(
        directory("bin"),
        entry("bin/busybox", tarfile.REGTYPE, program, mode=0o755),
        *(symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "hostname", "sleep")),
        file("content", "right"),
    )


@pytest.fixture
def own_registry(busybox_layer: bytes) -> Iterator[Registry]:
    with serve(Registry()) as running:
        running.add_image("1", busybox_layer)
        yield running


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.mkdir()
    return path


@pytest.fixture
def variables(environment: dict[str, str], own_registry: Registry, shared: Path) -> dict[str, str]:
    """The environment of a node, with a store that is one file per image."""
    configuration = shared / "registries.conf"
    configuration.write_text(
        f'[[registry]]\nlocation = "{own_registry.address}"\ninsecure = true\n', encoding="ascii"
    )
    return {
        **environment,
        "CONTAINERS_REGISTRIES_CONF": str(configuration),
        "CWL_UDSS_STORE": str(shared / "store"),
        "CWL_UDSS_FORMAT": "squashfs",
    }


def verify(node: Node) -> None:
    """See that the store has exactly one image, and that it is whole."""
    assert finish(node.start("cwl-udss", "images", "verify")).count("ok sha256:") == 1


@pytest.mark.parametrize("locks", ["real", "none", "ENOSYS", "ENOLCK"])
def test_sixteen_nodes_pull_once(
    variables: dict[str, str], own_registry: Registry, shared: Path, locks: str
) -> None:
    if locks != "real":
        variables["LD_PRELOAD"] = str(lock_library(shared))
        variables["LOCKS"] = locks
    nodes = [make_node(number, shared, variables) for number in range(NODES)]
    image = f"{own_registry.address}/image:1"
    started = [node.start("cwl-udss", "run", image, "cat", "/content") for node in nodes]
    assert finish(*started) == "right" * NODES
    blobs = Counter(own_registry.paths("/blobs/"))
    assert len(blobs) == 2  # the configuration and a layer
    assert set(blobs.values()) == {1}
    verify(nodes[0])
    assert leftovers(shared / "store", *nodes) == []


def test_a_clock_that_is_an_hour_off(
    variables: dict[str, str], own_registry: Registry, shared: Path
) -> None:
    right = make_node(1, shared, variables)
    wrong = make_node(
        2,
        shared,
        {**variables, "LD_PRELOAD": str(lock_library(shared)), "CLOCK_OFFSET": "-3600"},
    )
    image = f"{own_registry.address}/image:1"
    user = wrong.start("cwl-udss", "run", image, "sh", "-c", "cat /content; sleep 15")
    assert user.stdout is not None
    assert user.stdout.read(5) == "right"
    remover = right.start("cwl-udss", "images", "rm", image)
    _, error = remover.communicate(timeout=100)
    assert remover.returncode == 1
    assert "is in use (node2." in error
    finish(user)
    finish(right.start("cwl-udss", "images", "rm", image))
    assert leftovers(shared / "store", right, wrong) == []


def test_a_node_that_has_died_is_cleaned_up_after_by_another(
    variables: dict[str, str], own_registry: Registry, shared: Path
) -> None:
    dead, living = (make_node(number, shared, variables) for number in (1, 2))
    own_registry.break_after, own_registry.breaks = 1000, 1_000_000
    puller = dead.start("cwl-udss", "images", "pull", f"{own_registry.address}/image:1")
    while not leftovers(shared / "store"):
        assert puller.poll() is None
    puller.kill()
    puller.communicate()
    assert leftovers(shared / "store")
    removed = finish(living.start("cwl-udss", "clean"))
    assert "removed" in removed
    assert leftovers(shared / "store") == []


def test_a_library_is_read_only_and_comes_first(
    variables: dict[str, str], own_registry: Registry, shared: Path
) -> None:
    node = make_node(1, shared, variables)
    image = f"{own_registry.address}/image:1"
    library = shared / "library"
    finish(node.start("cwl-udss", "images", "pull", image, CWL_UDSS_STORE=str(library)))
    own_registry.requests.clear()
    for path in (library, *library.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    run = ("cwl-udss", "run", image, "cat", "/content")
    assert finish(node.start(*run, CWL_UDSS_LIBRARY=f"/nowhere,{library}")) == "right"
    assert own_registry.requests == []
    assert list((shared / "store").glob("images/*")) == []
    for path in (library, *library.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_group_store_is_for_all_of_the_group(
    variables: dict[str, str], own_registry: Registry, shared: Path
) -> None:
    store = shared / "store"
    store.mkdir()
    store.chmod(0o2775)
    node = make_node(1, shared, {**variables, "CWL_UDSS_FORMAT": "directory"})
    pull = ("cwl-udss", "images", "pull", f"{own_registry.address}/image:1")
    arguments = ["sh", "-c", 'umask 077; exec "$@"', "sh", *map(str, node.command(*pull))]
    subprocess.run(arguments, env=node.environment, check=True, capture_output=True)
    for path in store.rglob("*"):
        mode = path.stat().st_mode & 0o777
        if path.relative_to(store).parts[0] == "leases":
            continue
        assert mode & 0o040, path
        if path.is_dir() and "rootfs" not in path.parts and path.name != "rootfs":
            assert mode & 0o070 == 0o070, path


FILL = """
mount -t tmpfs -o {options} none {store}
export CWL_UDSS_STORE={store}/store
cwl-udss images pull {address}/image:large
echo "code $?"
cwl-udss images pull {address}/image:1
echo "code $?"
cwl-udss images verify
ls {store}/store/work
"""


@pytest.mark.parametrize("kind", ["directory", "squashfs"])
@pytest.mark.parametrize("options", ["size=4m", "nr_inodes=40"])
def test_a_full_disk(
    variables: dict[str, str],
    own_registry: Registry,
    shared: Path,
    kind: str,
    options: str,
) -> None:
    many = [file(f"f{number}", "x") for number in range(100)]
    own_registry.add_image(
        "large", gzipped(entry("large", tarfile.REGTYPE, os.urandom(6 << 20)), *many)
    )
    store = shared / "disk"
    store.mkdir()
    script = FILL.format(options=options, store=store, address=own_registry.address)
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        env={**variables, "CWL_UDSS_FORMAT": kind},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if options == "nr_inodes=40" and kind == "squashfs":
        assert lines[1] == "code 0"  # which is what it is for
    else:
        assert lines[0] == "code 1"
        assert "No space left on device (" in done.stderr
    assert [line for line in lines if line.startswith("code")][1] == "code 0"
    assert not [line for line in lines if not line.startswith(("code", "ok sha256:", "sha256:"))]
    assert "Traceback" not in done.stderr


def test_a_read_only_store_serves_what_it_has(
    variables: dict[str, str], own_registry: Registry, shared: Path
) -> None:
    node = make_node(1, shared, variables)
    image = f"{own_registry.address}/image:1"
    finish(node.start("cwl-udss", "images", "pull", image))
    own_registry.add_image("2", gzipped(file("other", "x")))
    for name, code in ((image, 0), (f"{own_registry.address}/image:2", 1)):
        done = subprocess.run(
            [
                *(find_bubblewrap(None).path, "--dev-bind", "/", "/"),
                *("--ro-bind", shared / "store", shared / "store"),
                *(COMMANDS / "cwl-udss", "run", name, "cat", "/content"),
            ],
            env=node.environment,
            cwd=node.scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
    assert "it is read-only here" in done.stderr


def test_offline_a_run_fails_at_its_start_with_all_that_is_missing(
    variables: dict[str, str], own_registry: Registry, shared: Path
) -> None:
    node = make_node(1, shared, {**variables, "CWL_UDSS_OFFLINE": "yes"})
    steps = {
        name: {
            "in": {},
            "out": [],
            "run": {
                "class": "CommandLineTool",
                "baseCommand": "true",
                "hints": {"DockerRequirement": {"dockerPull": f"{own_registry.address}/{name}:1"}},
                "inputs": {},
                "outputs": {},
            },
        }
        for name in ("one", "two")
    }
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "inputs": {},
        "outputs": {},
        "steps": steps,
    }
    (node.scratch / "workflow.cwl").write_text(json.dumps(workflow))
    process = node.start("cwltool", "--udss", "workflow.cwl")
    _, error = process.communicate(timeout=100)
    assert process.returncode == 1
    for name in ("one", "two"):
        assert f"{own_registry.address}/{name}:1" in error
    assert "cwl-udss images pull WORKFLOW" in error
    assert "[step" not in error
    assert own_registry.requests == []
