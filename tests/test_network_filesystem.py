# SPDX-License-Identifier: Apache-2.0
"""Nodes whose store and work directory are on a network filesystem that is late with news."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Node, finish, leftovers, make_node
from sshfs import sshfs_mounts
from workflows import write_chain

from cwl_udss.filesystems.filesystem import look_at

STEPS = 3


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    with sshfs_mounts(tmp_path_factory.mktemp("exported"), 2) as found:
        yield found


@pytest.fixture
def nodes(mounts: list[Path], environment: dict[str, str], tmp_path: Path) -> list[Node]:
    """Two nodes, each with a mount of its own."""
    return [
        make_node(number, tmp_path, {**environment, "CWL_UDSS_STORE": str(mount / "store")})
        for number, mount in enumerate(mounts)
    ]


def test_it_is_known_to_be_shared(mounts: list[Path]) -> None:
    assert look_at(mounts[0]).type_name == "fuse.sshfs"
    assert look_at(mounts[0]).is_shared


def test_both_nodes_run_from_one_file(nodes: list[Node], mounts: list[Path]) -> None:
    image = "docker.io/library/busybox:1.36"
    started = [node.start("cwl-udss", "run", image, "echo", "right") for node in nodes]
    assert finish(*started) == "right\n" * 2
    (root,) = (mounts[0] / "store/images").glob("*/rootfs.*")
    assert root.name == "rootfs.squashfs"
    for node in nodes:
        assert finish(node.start("cwl-udss", "images", "verify")).count("ok sha256:") == 1
    assert leftovers(mounts[0] / "store", *nodes) == []


def test_two_drivers_share_a_cache_of_steps(nodes: list[Node], mounts: list[Path]) -> None:
    write_chain(mounts[0] / "workflow.cwl", STEPS)
    results = []
    for node, mount in zip(nodes, mounts, strict=True):
        options = ["--udss", "--cachedir", str(mount / "cache"), "--outdir", str(node.scratch)]
        results.append(node.start("cwltool", *options, str(mount / "workflow.cwl")))
    outputs = json.loads("[" + finish(*results).replace("}{", "},{").replace("}\n{", "},{") + "]")
    for output in outputs:
        assert Path(output["last"]["location"].removeprefix("file://")).read_text() == "x" * STEPS
    again = nodes[0].start(
        *("cwltool", "--udss", "--cachedir", str(mounts[0] / "cache")),
        *("--outdir", str(nodes[0].scratch / "again"), str(mounts[0] / "workflow.cwl")),
    )
    _, error = again.communicate(timeout=300)
    assert again.returncode == 0
    assert error.count("result from the cache") == STEPS
