# SPDX-License-Identifier: Apache-2.0
"""Which directories are put together before bwrap starts, and how."""

from __future__ import annotations

from cwl_udss.runtimes.bubblewrap.trees import MountTree, gather
from cwl_udss.runtimes.operations import (
    MakeSymlink,
    MountBind,
    MountFile,
    MountSpecial,
    MountTmpfs,
    Operation,
    RemountReadOnly,
)

ROOT = MountBind("/", "/images/root", writable=False, is_directory=True)
OUT = MountBind("/out", "/host/out", writable=True, is_directory=True)
MANY = 3


def inputs(directory: str, number: int) -> tuple[MountBind, ...]:
    return tuple(
        MountBind(f"{directory}/{n}/file", f"/host/{n}", writable=False, is_directory=False)
        for n in range(number)
    )


def instructions(*operations: Operation) -> list[tuple[str, str, str]]:
    """The instructions for the only tree, with paths in it."""
    plan = gather(operations, MANY)
    (tree,) = (operation for operation in plan.operations if isinstance(operation, MountTree))
    return [
        (kind, target.removeprefix(tree.source), argument)
        for kind, target, argument in plan.instructions
    ]


def test_few_binds_are_left_to_bwrap() -> None:
    operations = (ROOT, OUT, MountTmpfs("/in"), *inputs("/in", MANY - 1), RemountReadOnly("/in"))
    plan = gather(operations, MANY)
    assert plan.operations == operations
    assert plan.instructions == ()


def test_what_bwrap_is_left_with_does_not_grow_with_the_inputs() -> None:
    for number in (MANY, 1000):
        operations = (ROOT, OUT, MountTmpfs("/in"), *inputs("/in", number), RemountReadOnly("/in"))
        root, out, tree = gather(operations, MANY).operations
        assert (root, out) == (ROOT, OUT)
        assert isinstance(tree, MountTree)
        assert tree.path == "/in"


def test_inputs_get_mount_points_in_memory() -> None:
    directory = MountBind("/in/directory", "/host/directory", writable=True, is_directory=True)
    assert instructions(ROOT, MountTmpfs("/in"), *inputs("/in", 2), directory) == [
        ("directory", "", ""),
        ("memory", "", ""),
        ("file", "/0/file", ""),
        ("ro-bind", "/0/file", "/host/0"),
        ("file", "/1/file", ""),
        ("ro-bind", "/1/file", "/host/1"),
        ("directory", "/directory", ""),
        ("bind", "/directory", "/host/directory"),
    ]


def test_nothing_is_made_in_a_directory_of_the_host() -> None:
    assert instructions(ROOT, OUT, *inputs("/out", 3)) == [
        ("directory", "", ""),
        ("bind", "", "/host/out"),
        ("ro-bind", "/0/file", "/host/0"),
        ("ro-bind", "/1/file", "/host/1"),
        ("ro-bind", "/2/file", "/host/2"),
    ]


def test_a_bind_within_a_bind_of_the_tree_is_in_the_tree() -> None:
    above = MountBind("/in/3", "/host/3", writable=False, is_directory=True)
    below = MountBind("/in/3/below", "/host/below", writable=True, is_directory=False)
    found = instructions(ROOT, MountTmpfs("/in"), *inputs("/in", 3), above, below)
    assert found[-3:] == [
        ("directory", "/3", ""),
        ("ro-bind", "/3", "/host/3"),
        ("bind", "/3/below", "/host/below"),
    ]


def test_links_of_an_opened_directory_are_made_in_the_tree() -> None:
    links = [MakeSymlink(f"/usr/bin/{name}", "busybox") for name in "abc"]
    assert ("symlink", "/a", "busybox") in instructions(ROOT, MountTmpfs("/usr/bin"), *links)


def test_what_is_no_bind_gets_a_mount_point_and_is_left_to_bwrap() -> None:
    tmpfs, file = MountTmpfs("/in/memory"), MountFile("/in/passwd", b"")
    operations = (
        *(ROOT, MountTmpfs("/in"), *inputs("/in", 3), tmpfs, file),
        *(RemountReadOnly("/in/memory"), RemountReadOnly("/in")),
    )
    assert instructions(*operations)[-2:] == [("directory", "/memory", ""), ("file", "/passwd", "")]
    _, tree, *rest = gather(operations, MANY).operations
    assert isinstance(tree, MountTree)
    assert rest == [tmpfs, file, RemountReadOnly("/in/memory")]


def test_the_root_can_be_a_tree() -> None:
    found = instructions(ROOT, MountSpecial("/proc"), *inputs("", 3))
    assert found == [
        ("directory", "", ""),
        ("ro-bind", "", "/images/root"),
        ("ro-bind", "/0/file", "/host/0"),
        ("ro-bind", "/1/file", "/host/1"),
        ("ro-bind", "/2/file", "/host/2"),
    ]


def test_two_trees_are_apart() -> None:
    operations = (ROOT, MountTmpfs("/a"), *inputs("/a", 3), MountTmpfs("/b"), *inputs("/b", 3))
    plan = gather(operations, MANY)
    sources = [
        operation.source for operation in plan.operations if isinstance(operation, MountTree)
    ]
    assert len(set(sources)) == 2
    assert ("ro-bind", f"{sources[1]}/0/file", "/host/0") in plan.instructions
