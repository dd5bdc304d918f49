# SPDX-License-Identifier: Apache-2.0
"""Layers in, a directory or a SquashFS image out: what is right in odd cases, and in hostile ones.

The cases are those in which other converters were seen to differ, fail, or write to the host.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import struct
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_formats import FORMATS, as_squashfs
from squashfs_readers import snapshot
from tar_layers import (
    Entry,
    convert,
    describe,
    directory,
    entry,
    file,
    gzipped,
    hardlink,
    in_chunks,
    read_layer,
    symlink,
    tar,
)

from cwl_udss.errors import InvalidImage
from cwl_udss.images.formats.directory import DirectorySink
from cwl_udss.images.formats.squashfs.tables import readable_by_all
from cwl_udss.images.layers.compression import zstd
from cwl_udss.images.layers.members import Kind
from cwl_udss.images.layers.tar import Limits, index_layer
from cwl_udss.images.trees.merge import ensure_mount_points, merge_layers
from cwl_udss.images.trees.table import EntryTable

Format = Callable[[list[bytes], Path], Path]

LONG_NAME = "n" * 255
LONG_PATH = "/".join(["d" * 100] * 20)

GOOD = {
    "a file, a directory, a link": (
        [tar(directory("d"), file("d/f", "hello"), symlink("l", "d/f"))],
        {"d": "dir", "d/f": "hello", "l": "-> d/f"},
    ),
    "absolute member": ([tar(file("/etc/x"))], {"etc": "dir", "etc/x": "x"}),
    "dot before the name": ([tar(directory("./"), file("./a"))], {"a": "x"}),
    "dots inside the name": ([tar(directory("a"), file("a/../b"))], {"a": "dir", "b": "x"}),
    "symlink climbing above the root keeps its text": (
        [tar(symlink("up", "../../../../etc/passwd"))],
        {"up": "-> ../../../../etc/passwd"},
    ),
    "file through a symlinked parent": (
        [tar(directory("real"), symlink("link", "real"), file("link/f"))],
        {"real": "dir", "real/f": "x", "link": "-> real"},
    ),
    "file through an absolute symlinked parent of a lower layer": (
        [tar(directory("real"), symlink("link", "/real")), tar(file("link/f"))],
        {"real": "dir", "real/f": "x", "link": "-> /real"},
    ),
    "file through a climbing symlinked parent": (
        [tar(symlink("link", "../../../tmp")), tar(file("link/f"))],
        {"link": "-> ../../../tmp", "tmp": "dir", "tmp/f": "x"},
    ),
    "file through a dangling symlinked parent": (
        [tar(symlink("link", "/nowhere/else")), tar(file("link/f"))],
        {
            "link": "-> /nowhere/else",
            "nowhere": "dir",
            "nowhere/else": "dir",
            "nowhere/else/f": "x",
        },
    ),
    "file through a parent that leads through what is not there": (
        [tar(file("a", "old"), symlink("l", "a/../b/../c")), tar(file("l/f"))],
        {"a": "old", "l": "-> a/../b/../c", "c": "dir", "c/f": "x"},
    ),
    "hard link": (
        [tar(file("a", "data"), hardlink("b", "a"), hardlink("c", "/b"))],
        {"a": "data", "b": "data", "c": "data"},
    ),
    "hard link to a symlink, then the link overwritten": (
        [tar(file("a", "old"), symlink("s", "a"), hardlink("h", "s")), tar(file("h", "new"))],
        {"a": "old", "s": "-> a", "h": "new"},
    ),
    "hard link to a symlink, overwritten in the same layer": (
        [tar(file("a", "old"), symlink("s", "a"), hardlink("h", "s"), file("h", "new"))],
        {"a": "old", "s": "-> a", "h": "new"},
    ),
    "hard link to itself": ([tar(file("a"), hardlink("a", "./a"))], {"a": "x"}),
    "hard link to a lower layer's file": (
        [tar(file("a", "data")), tar(hardlink("b", "a"))],
        {"a": "data", "b": "data"},
    ),
    "hard link whose target is whited out": (
        [tar(file("a", "data"), hardlink("b", "a")), tar(file(".wh.a", ""))],
        {"b": "data"},
    ),
    "whiteout": (
        [tar(directory("d"), file("d/a"), file("d/b")), tar(file("d/.wh.a", ""))],
        {"d": "dir", "d/b": "x"},
    ),
    "whiteout at the top, then added again": (
        [tar(directory("w"), file("w/old")), tar(file(".wh.w", ""), directory("w"), file("w/new"))],
        {"w": "dir", "w/new": "x"},
    ),
    "whiteout after what the same layer adds in it": (
        [tar(directory("w"), file("w/old")), tar(file("w/new"), file(".wh.w", ""))],
        {"w": "dir", "w/new": "x"},
    ),
    "file then whiteout in one layer": ([tar(file("a"), file(".wh.a", ""))], {"a": "x"}),
    "whiteout of nothing": ([tar(file("a")), tar(file(".wh.b", ""))], {"a": "x"}),
    "whiteout through a symlink stays inside": (
        [tar(directory("real"), file("real/a"), symlink("l", "/real")), tar(file("l/.wh.a", ""))],
        {"real": "dir", "l": "-> /real"},
    ),
    "whiteout through dots": (
        [tar(directory("d"), file("d/a"), file("b")), tar(file("d/../.wh.b", ""))],
        {"d": "dir", "d/a": "x"},
    ),
    "whiteout through a climbing symlink": (
        [tar(file("a"), symlink("l", "../../..")), tar(file("l/.wh.a", ""))],
        {"l": "-> ../../.."},
    ),
    "whiteout of the longest name": (
        [tar(file(LONG_NAME)), tar(file(f".wh.{LONG_NAME}", ""))],
        {},
    ),
    "opaque directory": (
        [tar(directory("d"), file("d/a")), tar(file("d/.wh..wh..opq", ""), file("d/b"))],
        {"d": "dir", "d/b": "x"},
    ),
    "opaque marker after new files": (
        [tar(directory("d"), file("d/a")), tar(file("d/b"), file("d/.wh..wh..opq", ""))],
        {"d": "dir", "d/b": "x"},
    ),
    "opaque through a symlink keeps the link": (
        [tar(directory("d"), file("d/a"), symlink("l", "d")), tar(file("l/.wh..wh..opq", ""))],
        {"d": "dir", "l": "-> d"},
    ),
    "metadata of AUFS": ([tar(file(".wh..wh.plnk", ""), file("a"))], {"a": "x"}),
    "directory becomes file": (
        [tar(directory("a"), file("a/b")), tar(file("a", "now a file"))],
        {"a": "now a file"},
    ),
    "file becomes directory": (
        [tar(file("a")), tar(directory("a"), file("a/b"))],
        {"a": "dir", "a/b": "x"},
    ),
    "symlink becomes directory": (
        [tar(directory("r"), symlink("a", "r")), tar(directory("a"), file("a/b"))],
        {"r": "dir", "a": "dir", "a/b": "x"},
    ),
    "directory becomes symlink": (
        [tar(directory("a"), file("a/b")), tar(symlink("a", "c"))],
        {"a": "-> c"},
    ),
    "file becomes symlink": (
        [tar(file("a"), file("b")), tar(symlink("a", "b"))],
        {"a": "-> b", "b": "x"},
    ),
    "symlink becomes file": (
        [tar(file("b", "old"), symlink("a", "b")), tar(file("a", "new"))],
        {"a": "new", "b": "old"},
    ),
    "directory again keeps its entries": (
        [tar(directory("a"), file("a/b")), tar(directory("a"))],
        {"a": "dir", "a/b": "x"},
    ),
    "of duplicates the last": (
        [tar(file("a", "first"), directory("b"), file("a", "last"), file("b", "file"))],
        {"a": "last", "b": "file"},
    ),
    "file as parent is replaced": (
        [tar(file("a"), file("a/b"))],
        {"a": "dir", "a/b": "x"},
    ),
    "long names": (
        [tar(file(LONG_NAME), file(f"{LONG_PATH}/f", format=tarfile.PAX_FORMAT))],
        {
            LONG_NAME: "x",
            **{LONG_PATH[: 101 * n + 100]: "dir" for n in range(20)},
            f"{LONG_PATH}/f": "x",
        },
    ),
    "strange names": (
        [tar(file("a\nb"), file("-rf"), file("a.wh.b"), file(".wh"), file("ä"), file("\udcff"))],
        dict.fromkeys(["a\nb", "-rf", "a.wh.b", ".wh", "ä", "\udcff"], "x"),
    ),
    "name that is not UTF-8, in PAX": (
        [tar(file("\udcff" * 120, format=tarfile.PAX_FORMAT))],
        {"\udcff" * 120: "x"},
    ),
    "regular file with a slash at the end": ([tar(file("a/"))], {"a": "x"}),
    "file and directory as before POSIX": (
        [tar(entry("d/", tarfile.AREGTYPE), entry("a", tarfile.AREGTYPE, b"x"))],
        {"a": "x", "d": "dir"},
    ),
    "PAX global header": (
        [tar(entry("g", tarfile.XGLTYPE, b"19 comment=abcdefg\n"), file("a"))],
        {"a": "x"},
    ),
    "no blocks at the end": ([tar(file("a"), end=b"")], {"a": "x"}),
    "one block at the end": ([tar(file("a"), end=bytes(512))], {"a": "x"}),
    "zeros at the end": ([tar(file("a"), end=bytes(10240))], {"a": "x"}),
    "gzip of several members": (
        [
            gzip.compress(tar(file("a"), file("b"))[:700])
            + gzip.compress(tar(file("a"), file("b"))[700:])
        ],
        {"a": "x", "b": "x"},
    ),
    "gzip with zeros after it": ([gzipped(file("a")) + bytes(100)], {"a": "x"}),
    "zstd": ([zstd.compress(tar(file("a")))], {"a": "x"}),
    "zstd of several frames, one to skip": (
        [
            struct.pack("<II", 0x184D2A50, 4)
            + b"skip"
            + zstd.compress(tar(file("a"))[:600])
            + zstd.compress(tar(file("a"))[600:])
        ],
        {"a": "x"},
    ),
    "no layers": ([], {}),
    "empty layer": ([tar()], {}),
}

BAD = {
    "member that leaves the root": ([tar(file("../../x"))], "leaves the image"),
    "member that leaves the root in between": ([tar(file("a/../../x"))], "leaves the image"),
    "hard link out by dots": ([tar(hardlink("a", "../../etc/passwd"))], "leaves the image"),
    "hard link out, absolute": ([tar(hardlink("a", "/etc/hostname"))], "no file of the image"),
    "hard link out through a symlink": (
        [tar(symlink("s", "/etc"), hardlink("a", "s/hostname"))],
        "no file of the image",
    ),
    "hard link to a directory": ([tar(directory("d"), hardlink("a", "d"))], "no file"),
    "hard link to nothing": ([tar(hardlink("a", ""))], "no file"),
    "symbolic links that go round": (
        [tar(symlink("a", "b"), symlink("b", "a"), file("a/x"))],
        "go round",
    ),
    "whiteout of nothing named": ([tar(file(".wh.", ""))], "whiteout"),
    "whiteout of the directory": ([tar(file("etc/.wh..", ""))], "whiteout"),
    "whiteout of the parent": ([tar(file("etc/.wh...", ""))], "whiteout"),
    "whiteout that leaves the root": ([tar(file("../../.wh.etc", ""))], "leaves the image"),
    "root that is a symlink": ([tar(symlink("./", "/etc"))], "root that is no directory"),
    "root that is a device": ([tar(entry("./", tarfile.CHRTYPE))], "root that is no directory"),
    "name too long": ([tar(file("n" * 256))], "no file system can hold"),
    "name too long, of a parent": ([tar(file("n" * 256 + "/a"))], "no file system can hold"),
    "name too long, in a link": (
        [tar(symlink("l", "n" * 256), file("l/a"))],
        "no file system can hold",
    ),
    "link too long": ([tar(symlink("l", "n/" * 2048))], "can be no path"),
    "link to nothing": ([tar(symlink("l", ""))], "can be no path"),
    "link with a null": (
        [tar(symlink("l", "a\0b", format=tarfile.PAX_FORMAT, pax_headers={"linkpath": "a\0b"}))],
        "can be no path",
    ),
    "name with a null": (
        [tar(file("a", format=tarfile.PAX_FORMAT, pax_headers={"path": "a\0b"}))],
        "no file system can hold",
    ),
    "path too long": ([tar(file("/".join(["d" * 200] * 25)))], "too long"),
    "truncated gzip": ([gzipped(file("a", "x" * 5000))[:-20]], "middle of gzip"),
    "truncated content": ([tar(file("a", "x" * 5000))[:2000]], "too early"),
    "truncated header": ([tar(file("a"))[:700]], "too early"),
    "neither gzip nor tar": ([b"<html>not found</html>" * 50], "web page"),
    "noise": ([b"\x01\x02noise" * 500], "no tar"),
    "a filesystem, which begins with zeros": (
        [bytes(1080) + b"\x53\xef" + bytes(5000) + b"x"],
        "ext4 filesystem, and no tar",
    ),
    "xz": ([b"\xfd7zXZ\0" + bytes(100)], "xz"),
    "corrupt first header": ([b"x" + tar(file("a"))[1:]], "checksum"),
    "corrupt second header": (
        [tar(file("a"))[:1024] + b"x" + tar(file("b"))[1:]],
        "checksum",
    ),
    "zero block in the middle": ([tar(file("a"), bytes(512), file("b"))], "zero block"),
    "damaged gzip": (
        [gzipped(file("a", "x" * 100))[:30] + b"\xff" * 20 + gzipped(file("a", "x" * 100))[50:]],
        "damaged|middle",
    ),
    "gzip with something after it": ([gzipped(file("a")) + b"garbage"], "damaged|middle"),
    "damaged zstd": ([zstd.compress(tar(file("a")))[:20] + b"\xff" * 30], "damaged|early|middle"),
    "header of 2 MiB": (
        [tar(entry("p", tarfile.XHDTYPE, b"x" * (2 << 20)), file("a"))],
        "header of",
    ),
    "malformed extended header": (
        [tar(entry("p", tarfile.XHDTYPE, b"99 path=short\n"), file("a"))],
        "malformed",
    ),
}


@pytest.mark.parametrize("made_of", FORMATS)
@pytest.mark.parametrize(("layers", "expected"), GOOD.values(), ids=GOOD.keys())
def test_what_comes_out(
    tmp_path: Path, made_of: Format, layers: list[bytes], expected: dict[str, str]
) -> None:
    assert describe(made_of(layers, tmp_path)) == expected


@pytest.mark.parametrize("made_of", FORMATS)
@pytest.mark.parametrize(("layers", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_refused(
    tmp_path: Path, made_of: Format, layers: list[bytes], message: str
) -> None:
    with pytest.raises(InvalidImage, match=message):
        made_of(layers, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("made_of", FORMATS)
def test_hard_links_are_one_file(tmp_path: Path, made_of: Format) -> None:
    root = made_of([tar(file("a", "data"), hardlink("b", "a"))], tmp_path)
    assert (root / "a").stat().st_ino == (root / "b").stat().st_ino


@pytest.mark.parametrize("made_of", FORMATS)
@pytest.mark.parametrize(
    ("made", "mode", "expected"),
    [
        (file, 0o4755, 0o755),
        (file, 0o2755, 0o755),
        (file, 0o000, 0o400),
        (file, 0o666, 0o664),
        (file, 0o444, 0o444),
        (directory, 0o000, 0o700),
        (directory, 0o555, 0o755),
        (directory, 0o1777, 0o1775),
        (directory, 0o2755, 0o755),
    ],
)
def test_modes(
    tmp_path: Path, made_of: Format, made: Callable[..., Entry], mode: int, expected: int
) -> None:
    umask = os.umask(0o077)
    try:
        root = made_of([tar(made("a", mode=mode))], tmp_path)
    finally:
        os.umask(umask)
    if made_of is as_squashfs:
        expected = readable_by_all(expected)
    assert stat.S_IMODE((root / "a").stat().st_mode) == expected


@pytest.mark.parametrize("made_of", FORMATS)
def test_implicit_parents_are_open_to_all(tmp_path: Path, made_of: Format) -> None:
    root = made_of([tar(file("a/b/c"))], tmp_path)
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o755


@pytest.mark.parametrize("made_of", FORMATS)
def test_a_directory_closed_by_one_layer_can_be_changed_by_the_next(
    tmp_path: Path, made_of: Format
) -> None:
    layers = [
        tar(directory("d", mode=0o000), file("d/a")),
        tar(file("d/b"), file("d/.wh.a", ""), directory("d", mode=0o500)),
    ]
    assert describe(made_of(layers, tmp_path)) == {"d": "dir", "d/b": "x"}


@pytest.mark.parametrize("made_of", FORMATS)
def test_times_are_kept(tmp_path: Path, made_of: Format) -> None:
    layer = tar(
        directory("d", mtime=1000), file("d/f", mtime=2000), symlink("d/l", "f", mtime=3000)
    )
    root = made_of([layer], tmp_path)
    times = [(root / name).lstat().st_mtime for name in ("d", "d/f", "d/l")]
    assert times == [1000, 2000, 3000]


@pytest.mark.parametrize("made_of", FORMATS)
@pytest.mark.parametrize("mtime", ["-1.5", "99999999999999", "1.5"])
def test_odd_times_do_no_harm(tmp_path: Path, made_of: Format, mtime: str) -> None:
    layer = tar(file("a", format=tarfile.PAX_FORMAT, pax_headers={"mtime": mtime}))
    assert describe(made_of([layer], tmp_path)) == {"a": "x"}


SPECIAL = [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_are_counted(kind: bytes) -> None:
    layer = tar(entry("a", kind), entry("d/b", kind), hardlink("c", "a"), entry("a", kind))
    (note,) = merge_layers([index_layer([layer])]).notes
    assert note == "3 device nodes, pipes and other special files left out"


@pytest.mark.parametrize("made_of", FORMATS)
@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_are_left_out_as_if_they_had_been_there(
    tmp_path: Path, made_of: Format, kind: bytes
) -> None:
    layers = [
        tar(file("replaced"), file("replaced by a link"), directory("d"), file("d/lower")),
        tar(
            *(entry(name, kind) for name in ("replaced", "d/a", "to be replaced", "new/b", "e/c")),
            *(hardlink(name, "d/a") for name in ("linked", "replaced by a link")),
            file(".wh.d", ""),
        ),
        tar(file("to be replaced"), file("e/.wh.c", ""), file("e/c/f")),
    ]
    assert describe(made_of(layers, tmp_path)) == {
        **{"d": "dir", "e": "dir", "e/c": "dir", "e/c/f": "x"},
        **{"new": "dir", "to be replaced": "x"},
    }


NET_BIND_SERVICE = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0).decode()  # capabilities(7)


@pytest.mark.parametrize("made_of", FORMATS)
@pytest.mark.parametrize("capability", [NET_BIND_SERVICE, "bad\udcff"], ids=["valid", "malformed"])
def test_attributes_that_could_act_are_dropped(
    tmp_path: Path, made_of: Format, capability: str
) -> None:
    attributes = {
        "SCHILY.xattr.user.note": "kept",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.security.capability": capability,
    }
    layer = tar(file("a", format=tarfile.PAX_FORMAT, pax_headers=attributes))
    tree = merge_layers([index_layer([layer])])
    assert dict(tree.root.entries[b"a"].attributes) == {"user.note": b"kept"}  # type: ignore[union-attr]
    assert snapshot(made_of([layer], tmp_path))["a"].attributes == {"user.note": b"kept"}


def gnu_sparse(tmp_path: Path, tar_format: str) -> bytes:
    """What GNU tar makes of a file with holes."""
    import subprocess

    with (tmp_path / "sparse").open("wb") as stream:
        for number in range(30):
            stream.seek(number * 100_000)
            stream.write(b"%04d" % number)
        stream.truncate(4_000_000)
    options = (
        ["--format=gnu"]
        if tar_format == "gnu"
        else [
            "--format=posix",
            f"--sparse-version={tar_format}",
        ]
    )
    made = subprocess.run(
        ["tar", "-c", "--sparse", *options, "sparse"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    return made.stdout


@pytest.mark.parametrize("made_of", FORMATS)
@pytest.mark.parametrize("tar_format", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files(tmp_path: Path, made_of: Format, tar_format: str) -> None:
    layer = gnu_sparse(tmp_path, tar_format)
    (tmp_path / "converted").mkdir()
    root = made_of([layer], tmp_path / "converted")
    assert (root / "sparse").read_bytes() == (tmp_path / "sparse").read_bytes()
    # SquashFS has holes of whole blocks only, of 128 KiB.
    limit = 3_500_000 if made_of is as_squashfs else 2_000_000
    assert (root / "sparse").stat().st_blocks * 512 < limit


def test_a_sparse_map_that_lies(tmp_path: Path) -> None:
    headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.size": "10",
        "GNU.sparse.map": "5,100",
    }
    layer = tar(file("a", "x" * 100, format=tarfile.PAX_FORMAT, pax_headers=headers))
    with pytest.raises(InvalidImage, match="do not fit"):
        convert(tmp_path, layer)


def test_a_sparse_map_that_takes_the_place_of_what_it_promises(tmp_path: Path) -> None:
    headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "600"}
    content = "1\n0\n600\n".ljust(512, "\0") + "x" * 100
    layer = tar(file("a", content, format=tarfile.PAX_FORMAT, pax_headers=headers))
    with pytest.raises(InvalidImage, match="not there"):
        convert(tmp_path, layer)


def test_diff_id_is_that_of_the_uncompressed_layer() -> None:
    layer = tar(file("a", "x" * 5000), end=bytes(5000))
    expected = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    for compressed in (layer, gzip.compress(layer), zstd.compress(layer)):
        assert index_layer(in_chunks(compressed)).diff_id == expected


def test_a_tar_that_nobody_has_ended_has_no_padding_after_its_last_file(tmp_path: Path) -> None:
    # `umoci insert` (0.4.7) writes such layers, and umoci, Docker and Podman read them.
    whole = tar(file("a"), file("b", "last"), end=b"")
    end = whole.rindex(b"last") + len(b"last")
    assert convert(tmp_path, whole[:end]).found == {"a": "x", "b": "last"}
    for cut in (end - 1, end + 1, len(whole) - 1):
        with pytest.raises(InvalidImage, match="too early"):
            index_layer([whole[:cut]])


def test_base_256_sizes_and_signed_checksums() -> None:
    block = bytearray(file("\udcff", "x" * 10))
    block[124:136] = b"\x80" + (10).to_bytes(11, "big")
    block[148:156] = b" " * 8
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:512])
    block[148:156] = b"%06o\0 " % signed
    (member,) = index_layer([bytes(block) + bytes(1024)]).members
    assert (member.path, member.size, member.kind) == (b"\xff", 10, Kind.FILE)


def test_bombs_are_stopped_by_their_size() -> None:
    layer = gzip.compress(tar(file("a", "\0" * 1_000_000)))
    with pytest.raises(InvalidImage, match="larger than any image"):
        index_layer(in_chunks(layer), Limits(uncompressed_bytes=500_000))
    with pytest.raises(InvalidImage, match="more than 2 entries"):
        index_layer([tar(file("a"), file("b"), file("c"))], Limits(entries=2))


def test_holes_count_as_much_as_what_is_there() -> None:
    headers = {"GNU.sparse.major": "0", "GNU.sparse.size": str(1 << 62), "GNU.sparse.map": "0,1"}
    layer = tar(file("a", "x", format=tarfile.PAX_FORMAT, pax_headers=headers))
    with pytest.raises(InvalidImage, match="larger than any image"):
        index_layer([layer])


def test_many_whiteouts_take_no_time() -> None:
    names = [f"d/f{number}" for number in range(5000)]
    lower = tar(*(file(name) for name in names))
    upper = tar(*(file(name.replace("f", ".wh.f"), "") for name in names))
    tree = merge_layers([index_layer([lower]), index_layer([upper])])
    assert [path for path, _ in tree.walk()] == [b"d"]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        pytest.param(tar(), {}, id="empty image"),
        pytest.param(
            tar(symlink("etc/resolv.conf", "/run/resolv.conf")), {}, id="dangling resolv.conf"
        ),
        pytest.param(
            tar(file("etc/passwd", "root"), symlink("etc/group", "passwd")),
            {"etc/passwd": "root"},
            id="users are kept",
        ),
        pytest.param(tar(symlink("etc", "real")), {"real/passwd": ""}, id="etc is a link"),
        pytest.param(tar(file("proc")), {}, id="proc is a file"),
        pytest.param(tar(symlink("var", "/data")), {"data/lib/cwl": "dir"}, id="var is a link"),
    ],
)
def test_mount_points_are_there_whatever_the_image(
    tmp_path: Path, layer: bytes, expected: dict[str, str]
) -> None:
    with closing(DirectorySink(tmp_path / "rootfs", tmp_path / "contents")) as sink:
        table = EntryTable()
        tree = merge_layers([read_layer(0, [layer], sink)], table)
        ensure_mount_points(tree, table)
        sink.finish(tree)
    found = describe(tmp_path / "rootfs")
    for name in ("dev", "proc", "sys", "tmp"):
        assert found[name] == "dir"
    assert expected.items() <= found.items()
    etc = (
        tmp_path / "rootfs" / (found["etc"].removeprefix("-> ") if "->" in found["etc"] else "etc")
    )
    assert all((etc / name).exists() for name in ("passwd", "group", "hosts", "resolv.conf"))


NAMES = st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/a", "a/b/c", "../x", "/a", "l/a", "l"])
TARGETS = st.sampled_from(["a", "/a", "../..", "..", "b/..", "/", "l", "../canary", "/canary"])
ENTRIES = st.one_of(
    st.builds(file, NAMES, st.text("xyz", max_size=3)),
    st.builds(directory, NAMES, mode=st.sampled_from([0, 0o755, 0o7777])),
    st.builds(symlink, NAMES, TARGETS),
    st.builds(hardlink, NAMES, NAMES),
    st.builds(lambda name: file(f"{name.rpartition('/')[0]}/.wh.{name.rpartition('/')[2]}"), NAMES),
    st.builds(lambda name: file(f"{name}/.wh..wh..opq"), NAMES),
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(ENTRIES, max_size=8), max_size=3))
def test_whatever_the_layers_nothing_is_written_outside(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[bytes]]
) -> None:
    place = tmp_path_factory.mktemp("fuzz")
    (place / "canary").write_text("alive")
    (place / "inside").mkdir()
    try:
        converted = convert(place / "inside", *(tar(*entries) for entries in layers))
    except InvalidImage:
        return
    finally:
        assert (place / "canary").read_text() == "alive"
        assert sorted(os.listdir(place)) == ["canary", "inside"]
    assert converted.names == set(converted.found)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=1200))
def test_noise_is_refused_or_read_but_nothing_else(noise: bytes) -> None:
    valid = bytearray(tar(file("a", "x" * 100), directory("b")))
    valid[: len(noise)] = bytes(a ^ b for a, b in zip(valid, noise, strict=False))
    try:
        index_layer([bytes(valid)])
    except InvalidImage as error:
        assert str(error)


def test_python_and_gnu_archives_read_the_same(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(Path(__file__).parent, arcname="tests")
    expected = describe(Path(__file__).parent)
    found = convert(tmp_path, buffer.getvalue()).found
    assert {
        name.removeprefix("tests/"): what for name, what in found.items() if "/" in name
    } == expected
