# SPDX-License-Identifier: Apache-2.0
"""A tree in, a SquashFS file out, and the same tree again by each reader there is.

What is right is said by the directory sink, written from the same tree.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import resource
import shutil
import struct
import tarfile
import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from squashfs_readers import (
    READERS,
    Facts,
    Reader,
    as_in_squashfs,
    kernel,
    ours,
    rdsquashfs,
    snapshot,
    squashfuse,
    unsquashfs,
)
from tar_layers import (
    directory,
    entry,
    file,
    hardlink,
    in_chunks,
    read_layer,
    read_layers,
    symlink,
    tar,
)

from cwl_udss.errors import InvalidImage
from cwl_udss.images.formats.directory import DirectorySink
from cwl_udss.images.formats.names import Compression
from cwl_udss.images.formats.squashfs.data import cut
from cwl_udss.images.formats.squashfs.format import (
    DIRECTORY,
    NONE,
    Blocks,
    Entry,
    Inode,
    Position,
    directory_runs,
    file_inode,
    storable_attributes,
)
from cwl_udss.images.formats.squashfs.tables import number_inodes, readable_by_all
from cwl_udss.images.formats.squashfs.writer import SquashfsSink
from cwl_udss.images.layers.members import Extent
from cwl_udss.images.layers.tar import index_layer
from cwl_udss.images.trees.contents import Content, Sink, Written, clamped_time, write_tree
from cwl_udss.images.trees.merge import merge_layers
from cwl_udss.images.trees.tree import Directory, Node, RegularFile, SymbolicLink, Tree

BLOCK = 128 << 10
SIZES = [
    *(0, 1, 511, 512, 8191, 8192, BLOCK // 2, BLOCK // 2 + 1),
    *(blocks * BLOCK + more for blocks in (1, 2, 5) for more in (-1, 0, 1)),
]
GNU_SPARSE = {
    "GNU.sparse.major": "0",
    "GNU.sparse.minor": "1",
    "GNU.sparse.size": str(20 * BLOCK + 7),
    "GNU.sparse.map": f"{BLOCK // 2},10,{2 * BLOCK},{BLOCK},{9 * BLOCK - 1},2,{15 * BLOCK + 3},100",
}


def noise(size: int) -> bytes:
    """What cannot be compressed."""
    return random.Random(size).randbytes(size)


def text(size: int) -> bytes:
    """What can be compressed."""
    return (b"".join(b"line %d of a file\n" % n for n in range(size // 15 + 1)))[:size]


def regular(name: str, content: bytes, **fields: object) -> bytes:
    return entry(name, tarfile.REGTYPE, content, **fields)


def whiteout(name: str) -> bytes:
    return file(f".wh.{name}", "")


def with_attributes(made: bytes, attributes: dict[str, str], kind: bytes, name: str) -> bytes:
    headers = {f"SCHILY.xattr.{key}": value for key, value in attributes.items()}
    content = made if kind == tarfile.REGTYPE else b""
    return entry(name, kind, content, format=tarfile.PAX_FORMAT, pax_headers=headers)


def everything() -> list[bytes]:
    """Two layers with what a reader could trip over."""
    lower = [
        directory(".", mode=0o755, mtime=77),
        *(
            regular(f"sizes/{what.__name__}{size}", what(size), mtime=1_000_000 + size)
            for size in SIZES
            for what in (noise, text, bytes)
        ),
        directory("empty", mtime=12345),
        directory("modes", mode=0o700),
        *(file(f"modes/{mode:o}", mode=mode) for mode in (0o000, 0o400, 0o600, 0o644, 0o750)),
        directory("modes/d700", mode=0o700),
        file("modes/d700/inside", mode=0o600),
        directory("modes/sticky", mode=0o1777),
        *(
            with_attributes(
                b"content", {"user.note": note, "user.other": "same"}, kind, f"attributes/{name}"
            )
            for name, note, kind in (
                ("file", "one", tarfile.REGTYPE),
                ("like it", "one", tarfile.REGTYPE),
                ("directory", "two", tarfile.DIRTYPE),
                ("long", "x" * 3000, tarfile.REGTYPE),
            )
        ),
        *(file(f"names/{name}") for name in ("a\nb", "-rf", "ä", "\udcff", "n" * 255, " ")),
        *(file(f"many/{number:05}-{'x' * (number % 90)}", "") for number in range(1500)),
        *(directory(f"many-directories/{number}") for number in range(700)),
        *(file(f"many-directories/{number}/f", f"{number}") for number in range(700)),
        symlink("links/dangling", "../nowhere"),
        symlink("links/long", "a/" * 2000, mtime=99),
    ]
    upper = [
        hardlink("links/hard", "sizes/text131073"),
        hardlink("a-first-name", "sizes/text131073"),
        hardlink("links/hard-link-to-link", "links/dangling"),
        entry(
            "holes",
            tarfile.REGTYPE,
            b"0123456789" + noise(BLOCK) + b"ab" + noise(100),
            format=tarfile.PAX_FORMAT,
            pax_headers=GNU_SPARSE,
        ),
        file("sizes/.wh.noise8191", ""),
        regular("sizes/text8192", b"of the upper layer"),
    ]
    return [tar(*lower), tar(*upper)]


def merged(layers: list[bytes]) -> Tree:
    return merge_layers([index_layer(in_chunks(layer, 1 << 20)) for layer in layers])


def write(layers: list[bytes], sink: Sink) -> Written:
    indexes = read_layers((in_chunks(layer, 50_000) for layer in layers), sink)
    return sink.finish(merge_layers(indexes))


def to_squashfs(
    layers: list[bytes],
    path: Path,
    compression: Compression = Compression.ZSTD,
    *,
    threads: int | None = None,
) -> Written:
    with closing(SquashfsSink(path, beside(path), compression, threads=threads)) as sink:
        return write(layers, sink)


def tree_to_squashfs(
    tree: Tree,
    contents: Iterable[tuple[RegularFile, Content]],
    path: Path,
    compression: Compression = Compression.ZSTD,
    *,
    threads: int | None = None,
) -> Written:
    with closing(SquashfsSink(path, beside(path), compression, threads=threads)) as sink:
        return write_tree(tree, contents, sink)


def beside(path: Path) -> Path:
    """A place for what is not finished."""
    return path.with_name(f"{path.name}.contents")


@pytest.fixture(scope="module")
def layers() -> list[bytes]:
    return everything()


@pytest.fixture(scope="module")
def expected(layers: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Facts]:
    root = tmp_path_factory.mktemp("expected") / "rootfs"
    with closing(DirectorySink(root, beside(root))) as sink:
        write(layers, sink)
    return as_in_squashfs(snapshot(root))


@pytest.fixture(scope="module", params=Compression)
def image(
    request: pytest.FixtureRequest, layers: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("image") / "image.sqfs"
    to_squashfs(layers, path, request.param)
    return path


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_finds_what_was_put_in(
    image: Path, expected: dict[str, Facts], reader: Reader, tmp_path: Path
) -> None:
    with reader(image, tmp_path) as root:
        found = snapshot(root)
    if reader is rdsquashfs:
        found, expected = as_rdsquashfs_can(found), as_rdsquashfs_can(expected)
    assert list(found) == list(expected)
    for path, facts in found.items():
        assert facts == expected[path], path


def as_rdsquashfs_can(found: dict[str, Facts]) -> dict[str, Facts]:
    """It makes each hard link a file of its own, and leaves the root as it is."""
    return {path: facts._replace(same_as="") for path, facts in found.items() if path != "."}


@pytest.mark.parametrize("compression", Compression)
def test_the_same_tree_gives_the_same_bytes(
    layers: list[bytes], tmp_path: Path, compression: Compression
) -> None:
    digests = set()
    for number, threads in enumerate((1, 4, 1, 4)):
        path = tmp_path / f"{number}"
        digests.add(to_squashfs(layers, path, compression, threads=threads).digest)
    assert len(digests) == 1


def test_it_does_not_matter_which_layer_comes_first(tmp_path: Path) -> None:
    layers = [
        tar(regular("a", noise(BLOCK + 1)), regular("b", noise(BLOCK + 2))),
        tar(regular("c", noise(BLOCK + 3)), regular("d", noise(BLOCK + 4))),
        tar(whiteout("a"), whiteout("c")),
    ]
    path = tmp_path / "image"
    with closing(SquashfsSink(path, beside(path), Compression.ZSTD)) as sink:
        read = [
            read_layer(number, in_chunks(layers[number]), sink)
            for number in reversed(range(len(layers)))
        ]
        written = sink.finish(merge_layers(read[::-1]))
    assert written.digest == to_squashfs(layers, tmp_path / "other").digest


@pytest.mark.parametrize("largest", ["lower", "upper"])
def test_what_a_layer_hides_is_not_in_the_image(tmp_path: Path, largest: str) -> None:
    gone = {"a": noise(3 * BLOCK + 1000), "b": noise(2000)}
    kept = {"c": noise(3 * BLOCK + 1001), "d": noise(2001)}
    more = {"e": noise(20 * BLOCK)}
    lower, upper = {**gone, **kept}, {}
    (upper if largest == "upper" else lower).update(more)
    layers = [
        tar(*(regular(name, content) for name, content in lower.items())),
        tar(*(regular(name, content) for name, content in upper.items()), *map(whiteout, gone)),
    ]
    to_squashfs(layers, tmp_path / "image")
    # Noise is stored as it is.
    image = (tmp_path / "image").read_bytes()
    for content in gone.values():
        assert not any(content[start:][:50] in image for start in (0, len(content) // 2))
        assert content[-50:] not in image
    with unsquashfs(tmp_path / "image", tmp_path) as root:
        found = {path.name: path.read_bytes() for path in root.iterdir()}
    assert found == {**kept, **more}


def test_what_is_said_of_the_image(layers: list[bytes], tmp_path: Path) -> None:
    tree = merged(layers)
    path = tmp_path / "image"
    written = to_squashfs(layers, path)
    assert written.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert written.bytes == path.stat().st_size
    assert written.bytes % 4096 == 0
    assert written.entries == len(list(tree.walk()))
    assert written.bytes < sum(SIZES) * 1.5  # noise once, text hardly, zeros not at all


def test_an_existing_file_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "image").write_text("precious")
    with pytest.raises(FileExistsError):
        to_squashfs([], tmp_path / "image")
    assert (tmp_path / "image").read_text() == "precious"


def test_an_empty_image(tmp_path: Path) -> None:
    to_squashfs([], tmp_path / "image")
    with unsquashfs(tmp_path / "image", tmp_path) as root:
        assert os.listdir(root) == []


def test_a_layer_that_ends_too_early(tmp_path: Path) -> None:
    layer = tar(regular("a", noise(3_000_000)), regular("b", noise(3_000_000)))
    before = threading.active_count()
    with pytest.raises(InvalidImage, match="ends too early"):
        to_squashfs([layer[:4_000_000]], tmp_path / "i")
    assert threading.active_count() == before


def test_a_disk_that_is_full(layers: list[bytes], tmp_path: Path) -> None:
    before = threading.active_count()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            to_squashfs(layers, tmp_path / "i")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert threading.active_count() == before


def one_directory(entries: dict[bytes, RegularFile]) -> Tree:
    return Tree(root=Directory(entries=dict(entries)), linked=frozenset(entries.values()))


def stored_file(
    size: int, extents: tuple[Extent, ...] | None = None, *, offset: int = 0
) -> RegularFile:
    return RegularFile(0o644, 0, size, layer=0, offset=offset, extents=extents, attributes={})


@pytest.mark.parametrize("reader", [squashfuse, kernel])
def test_owners_links_and_sizes_as_mksquashfs_has_them(tmp_path: Path, reader: Reader) -> None:
    layer = tar(directory("d/a"), directory("d/b"), file("d/f"), symlink("d/l", "f"))
    to_squashfs([layer], tmp_path / "image")
    with reader(tmp_path / "image", tmp_path) as root:
        found = {path.name: path.lstat() for path in (root / "d").rglob("*")} | {
            "d": (root / "d").stat()
        }
    assert {(status.st_uid, status.st_gid) for status in found.values()} == {(0, 0)}
    links = {name: status.st_nlink for name, status in found.items()}
    assert links == {"d": 4, "a": 2, "b": 2, "f": 1, "l": 1}
    assert found["a"].st_size == (3 if reader is kernel else 0)  # squashfuse says so of each


def test_numbers_of_inodes() -> None:
    layer = tar(file("b/y"), file("b/a"), directory("b/c"), hardlink("a", "b/y"), file("c"))
    tree = merged([layer])
    numbering = number_inodes(tree)
    assert list(numbering.numbers) == [1, 3, 6]
    found = [{name: x for name, _, x in numbering.entries(index)} for index in range(3)]
    assert found == [{b"a": 2, b"b": 3, b"c": 4}, {b"a": 5, b"c": 6, b"y": 2}, {}]
    assert (numbering.inodes, numbering.names) == (6, 6)
    assert list(numbering.links.values()) == [2]


@pytest.mark.parametrize("reader", [squashfuse, kernel, ours])
def test_a_directory_of_100_000_entries(tmp_path: Path, reader: Reader) -> None:
    names = [b"%d-%s" % (number, b"x" * (number % 40)) for number in range(100_000)]
    tree = one_directory({name: stored_file(0) for name in names})
    tree.root.entries[b"d"] = Directory()
    tree_to_squashfs(tree, [], tmp_path / "image")
    with reader(tmp_path / "image", tmp_path) as root:
        assert set(os.listdir(os.fsencode(root))) == {b"d", *names}
        for name in random.Random(1).sample(names, 300):
            assert os.lstat(os.fsencode(root) + b"/" + name).st_size == 0
        with pytest.raises(FileNotFoundError):
            (root / "50000").stat()


@pytest.mark.parametrize("reader", [squashfuse, kernel])
def test_a_file_with_65_536_names(tmp_path: Path, reader: Reader) -> None:
    content = b"the one content"
    shared = stored_file(len(content))
    tree = one_directory({b"%05d" % number: shared for number in range(65_536)})
    tree_to_squashfs(tree, [(shared, [content])], tmp_path / "image")
    with reader(tmp_path / "image", tmp_path) as root:
        first, last = root / "00000", root / "65535"
        assert first.stat().st_nlink == 65_536
        assert first.stat().st_ino == last.stat().st_ino
        assert last.read_bytes() == content


@pytest.mark.parametrize("reader", [unsquashfs, squashfuse, kernel])
def test_files_of_4_gib_and_more(tmp_path: Path, reader: Reader) -> None:
    size = (5 << 30) + 3
    extents = (Extent(5, 1000), Extent(1 << 32, 200_000), Extent(size - 3, 3))
    content = noise(sum(extent.length for extent in extents))
    large, empty = stored_file(size, extents, offset=1), stored_file(1 << 32, ())
    tree = one_directory({b"large": large, b"empty": empty})
    tree_to_squashfs(tree, [(empty, []), (large, [content])], tmp_path / "image")
    with reader(tmp_path / "image", tmp_path) as root:
        assert (root / "empty").stat().st_size == 1 << 32
        assert (root / "large").stat().st_size == size
        if reader is not squashfuse:  # it says so of no file
            assert (root / "large").stat().st_blocks * 512 < 1 << 20
        with (root / "large").open("rb") as stream:
            for offset, length in extents:
                stream.seek(offset)
                assert stream.read(length) == content[:length]
                content = content[length:]
            stream.seek(1 << 31)
            assert stream.read(1000) == bytes(1000)


def test_holes_larger_than_any_disk_are_refused(tmp_path: Path) -> None:
    holes = stored_file(1 << 62, ())
    with pytest.raises(InvalidImage, match="larger than any"):
        tree_to_squashfs(one_directory({b"a": holes}), [(holes, [])], tmp_path / "image")


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """The whole image is 30 times what may be in memory."""
    large = stored_file(160 << 20)
    small = [stored_file(30_000, offset=large.size + number) for number in range(2000)]
    tree = one_directory({b"%d" % file.offset: file for file in (large, *small)})
    noises = noise(1 << 20)

    def content(file: RegularFile) -> Iterator[bytes]:
        for start in range(0, file.size, len(noises)):
            yield b"%9d" % start + noises[9 : file.size - start]

    tracemalloc.start()
    try:
        contents = ((file, content(file)) for file in (large, *small))
        tree_to_squashfs(tree, contents, tmp_path / "image", threads=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("mtime", "expected"),
    [
        (-1.5, 0),
        (float("nan"), 0),
        (float("-inf"), 0),
        (0, 0),
        (1.5, 1.5),
        ((1 << 32) - 1, (1 << 32) - 1),
        (1 << 32, (1 << 32) - 1),
        (float("inf"), (1 << 32) - 1),
    ],
)
def test_times_are_clamped(mtime: float, expected: float) -> None:
    assert clamped_time(mtime, (1 << 32) - 1) == expected


def test_odd_times_in_an_image(tmp_path: Path) -> None:
    layer = tar(
        *(
            file(name, format=tarfile.PAX_FORMAT, pax_headers={"mtime": mtime})
            for name, mtime in (("a", "-1.5"), ("b", "99999999999999"), ("c", "nan"), ("d", "1.9"))
        )
    )
    to_squashfs([layer], tmp_path / "image")
    with squashfuse(tmp_path / "image", tmp_path) as root:
        assert [(root / name).stat().st_mtime for name in "abcd"] == [0, (1 << 32) - 1, 0, 1]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o400, 0o444),
        (0o600, 0o644),
        (0o700, 0o755),
        (0o500, 0o555),
        (0o644, 0o644),
        (0o775, 0o775),
        (0o1700, 0o1755),
    ],
)
def test_everybody_may_read_what_the_owner_may(mode: int, expected: int) -> None:
    assert readable_by_all(mode) == expected


@pytest.mark.parametrize(
    ("pieces", "blocks"),
    [
        ([], []),
        ([b""], []),
        ([b"a"], [b"a"]),
        ([b"abcd"], [b"abcd"]),
        ([b"abcde"], [b"abcd", b"e"]),
        ([b"a", b"b", b"cdefgh", b"i"], [b"abcd", b"efgh", b"i"]),
        ([b"abc", b"d"], [b"abcd"]),
        ([b"abcdefghijkl"], [b"abcd", b"efgh", b"ijkl"]),
    ],
)
def test_cutting(pieces: list[bytes], blocks: list[bytes]) -> None:
    assert list(cut(pieces, 4)) == blocks


def a_listing(count: int, *, block: int = 0, first: int = 1, step: int = 1) -> list[Entry]:
    return [
        Entry(b"%03d" % n, 2, first + step * n, Position(block, n % 8192)) for n in range(count)
    ]


@pytest.mark.parametrize(
    ("entries", "offset", "expected"),
    [
        pytest.param([], 0, [], id="empty"),
        pytest.param(a_listing(256), 0, [256], id="as many as may be"),
        pytest.param(a_listing(257), 0, [256, 1], id="one more"),
        pytest.param(
            a_listing(3) + a_listing(2, block=99), 0, [3, 2], id="inodes in another block"
        ),
        pytest.param(a_listing(2, step=32767), 0, [2], id="numbers as far apart as may be"),
        pytest.param(a_listing(2, step=32768), 0, [1, 1], id="numbers farther apart"),
        pytest.param(
            a_listing(2, first=40_000, step=-32768), 0, [2], id="before, as far as may be"
        ),
        pytest.param(a_listing(2, first=40_000, step=-32769), 0, [1, 1], id="before, farther"),
        # A header takes 12 bytes and each of these entries 11.
        pytest.param(a_listing(3), 8192 - 12 - 11, [1, 2], id="the block ends with an entry"),
        pytest.param(a_listing(3), 8192 - 12 - 12, [2, 1], id="the block ends within an entry"),
        pytest.param(a_listing(3), 8191, [1, 2], id="the block ends within the header"),
    ],
)
def test_runs_of_a_listing(entries: list[Entry], offset: int, expected: list[int]) -> None:
    runs = list(directory_runs(entries, offset))
    assert [len(run) for run in runs] == expected
    assert [entry for run in runs for entry in run] == entries


@pytest.mark.parametrize(
    ("size", "start", "links", "attributes", "holes", "extended"),
    [
        (1, 96, 1, NONE, 0, False),
        ((1 << 32) - 1, (1 << 32) - 1, 1, NONE, 0, False),
        (1 << 32, 96, 1, NONE, 0, True),
        (1, 1 << 32, 1, NONE, 0, True),
        (1, 96, 2, NONE, 0, True),
        (1, 96, 1, 0, 0, True),
        (1, 96, 1, NONE, 1, True),
    ],
)
def test_which_files_need_an_extended_inode(
    size: int, start: int, links: int, attributes: int, holes: int, extended: bool
) -> None:
    inode = Inode(number=1, mode=0o644, mtime=0, links=links, attributes=attributes)
    blocks = Blocks(start=start, sizes=[], fragment=NONE, fragment_offset=0, hole_bytes=holes)
    packed = file_inode(inode, size, blocks)
    assert (packed[0], len(packed)) == ((9, 56) if extended else (2, 32))


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("user.a", b"", True),
        ("user." + "n" * 250, b"x", True),
        ("user." + "n" * 251, b"x", False),
        ("user." + "ä" * 125, b"x", True),
        ("user." + "ä" * 126, b"x", False),
        ("user.", b"x", False),
        ("user.a\0b", b"x", False),
        ("user.a", bytes(1 << 16), True),
        ("user.a", bytes((1 << 16) + 1), False),
    ],
)
def test_attributes_that_no_file_system_could_have(name: str, value: bytes, stored: bool) -> None:
    assert bool(storable_attributes({name: value})) is stored


NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda what, blocks, more: what(max(blocks * BLOCK + more, 0)),
        st.sampled_from([noise, text, bytes]),
        st.integers(0, 3),
        st.integers(-2, 2),
    ),
)
ATTRIBUTES: st.SearchStrategy[dict[str, bytes]] = st.one_of(
    st.just({}), st.dictionaries(st.sampled_from(["user.a", "user.b"]), st.binary(max_size=30))
)
TIMES = st.integers(0, (1 << 32) - 1)


@st.composite
def trees(draw: st.DrawFn) -> tuple[Tree, dict[RegularFile, bytes]]:
    """A small tree, and the contents of its files."""
    root = Directory(mode=0o755, mtime=draw(TIMES))
    directories = [root]
    contents: dict[RegularFile, bytes] = {}
    linked: set[Node] = set()
    for name in draw(st.lists(NAMES, max_size=12, unique=True)):
        parent = draw(st.sampled_from(directories))
        kind = draw(st.sampled_from(["file", "directory", "link", "hard link"]))
        if kind == "directory":
            made = Directory(draw(st.sampled_from([0o700, 0o1755])), draw(TIMES), draw(ATTRIBUTES))
            directories.append(made)
            parent.entries[name] = made
        elif kind == "link":
            target = draw(NAMES)
            parent.entries[name] = SymbolicLink(target, draw(TIMES))
        elif kind == "hard link" and contents:
            parent.entries[name] = draw(st.sampled_from(list(contents)))
            linked.add(parent.entries[name])
        else:
            content = draw(CONTENTS)
            file = RegularFile(
                # Not 0o400: unsquashfs then cannot set attributes, unless it is root.
                mode=draw(st.sampled_from([0o600, 0o644, 0o755])),
                mtime=draw(TIMES),
                size=len(content),
                layer=0,
                offset=len(contents),
                extents=None,
                attributes=draw(ATTRIBUTES),
            )
            contents[file] = content
            parent.entries[name] = file
    return Tree(root=root, linked=frozenset(linked)), contents


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(trees(), st.sampled_from(Compression))
def test_whatever_the_tree_it_is_the_same_afterwards(
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[Tree, dict[RegularFile, bytes]],
    compression: Compression,
) -> None:
    tree, contents = made
    scratch = tmp_path_factory.mktemp("property")
    pieces = [(file, in_chunks(content, 50_000)) for file, content in contents.items()]
    tree_to_squashfs(tree, pieces, scratch / "image", compression)
    with unsquashfs(scratch / "image", scratch) as root:
        found = snapshot(root)
    with closing(DirectorySink(scratch / "directory", scratch / "contents")) as sink:
        write_tree(tree, pieces, sink)
    assert found == as_in_squashfs(snapshot(scratch / "directory"))
    shutil.rmtree(scratch / "tree")
    with ours(scratch / "image", scratch) as root:
        assert snapshot(root) == found


@pytest.mark.parametrize("compression", Compression)
def test_a_damaged_image_is_called_that(
    layers: list[bytes], tmp_path: Path, compression: Compression
) -> None:
    to_squashfs(layers, tmp_path / "image", compression)
    sound = (tmp_path / "image").read_bytes()
    numbers = random.Random(3)

    def is_refused(number: int, damaged: bytes) -> bool:
        (tmp_path / "damaged").write_bytes(damaged)
        (tmp_path / str(number)).mkdir()
        try:
            with ours(tmp_path / "damaged", tmp_path / str(number)):
                return False
        except InvalidImage as error:
            assert "is damaged, or no SquashFS file" in str(error)
            return True

    for number in range(10):  # the end is padding
        assert is_refused(number, sound[: numbers.randrange(len(sound) - 4096)])
    refused = 0
    for number in range(10, 25):
        damaged = bytearray(sound)
        for _ in range(20):
            damaged[numbers.randrange(len(sound))] ^= 1 << numbers.randrange(8)
        refused += is_refused(number, damaged)
    assert refused  # contents may be others now, which only their digest says


def test_tables_that_are_nowhere(tmp_path: Path) -> None:
    to_squashfs([tar(file("a", "content"))], tmp_path / "image")
    sound = (tmp_path / "image").read_bytes()
    for start in range(32, 96, 8):  # the root's inode, the size, and where the tables are
        damaged = sound[:start] + b"\xfe" * 8 + sound[start + 8 :]
        (tmp_path / "damaged").write_bytes(damaged)
        scratch = tmp_path / str(start)
        scratch.mkdir()
        with (
            contextlib.suppress(InvalidImage),
            ours(tmp_path / "damaged", scratch) as root,
        ):
            assert (root / "a").read_text() == "content"  # nothing needs it


@pytest.mark.parametrize("name", [b"..", b".", b"a/b", b"../x", b"a\0b"])
def test_names_that_lead_out_of_an_image(tmp_path: Path, name: bytes) -> None:
    tree_to_squashfs(one_directory({name: stored_file(0)}), [], tmp_path / "image")
    with (
        pytest.raises(InvalidImage, match="damaged, or no SquashFS file"),
        ours(tmp_path / "image", tmp_path),
    ):
        pass


def test_a_directory_that_is_in_itself(tmp_path: Path) -> None:
    tree = Tree(root=Directory(entries={b"a": Directory()}), linked=frozenset())
    tree_to_squashfs(tree, [], tmp_path / "image")
    # Too short to be compressed: the offset of its inode, beside which is that of the root.
    entry, other = (struct.pack("<HhHH", x, 0, DIRECTORY, 0) + b"a" for x in (0, 32))
    made = (tmp_path / "image").read_bytes()
    assert made.count(entry) == 1
    (tmp_path / "image").write_bytes(made.replace(entry, other))
    with pytest.raises(InvalidImage, match="damaged"), ours(tmp_path / "image", tmp_path):
        pass


SHORT_NAMES = st.sampled_from("abcdef")
ENTRIES = st.one_of(
    st.builds(regular, SHORT_NAMES, CONTENTS),
    st.builds(whiteout, SHORT_NAMES),
    st.builds(lambda name: file(f"{name}/.wh..wh..opq", ""), SHORT_NAMES),
    st.builds(lambda parent, name: f"{parent}/{name}", SHORT_NAMES, SHORT_NAMES).flatmap(
        lambda path: st.builds(regular, st.just(path), CONTENTS)
    ),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(ENTRIES, max_size=8), max_size=4), st.sampled_from(Compression))
def test_whatever_the_layers_both_formats_have_the_same(
    tmp_path_factory: pytest.TempPathFactory, entries: list[list[bytes]], compression: Compression
) -> None:
    layers = [tar(*members) for members in entries]
    scratch = tmp_path_factory.mktemp("layers")
    with closing(DirectorySink(scratch / "directory", scratch / "contents")) as sink:
        write(layers, sink)
    to_squashfs(layers, scratch / "image", compression)
    with unsquashfs(scratch / "image", scratch) as root:
        assert snapshot(root) == as_in_squashfs(snapshot(scratch / "directory"))
