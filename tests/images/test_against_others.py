# SPDX-License-Identifier: Apache-2.0
"""Random stacks of layers: what is made of them, in both formats, is what others unpack.

The others are umoci, whose rules are ours where the image specification is silent, and GNU tar for
single layers. Where they are known to differ from what is right, a rule here says so, and why.

Not made is what one side refuses by design: names that lead out of the image (umoci takes them as
inside it), whiteouts of no name, PAX global headers and GNU's own sparse files (umoci knows
neither). test_conversion.py has these.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import posixpath
import re
import shutil
import stat
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from image_formats import as_directory, as_squashfs
from needs import SCRATCH, need
from random_layers import LATEST_TIME, SPECIAL_TIME, TYPES, Layer, packed, stacks
from squashfs_readers import Facts, as_in_squashfs, snapshot
from stand_ins import write_layout

from cwl_udss.errors import InvalidImage
from cwl_udss.images.formats.names import Compression


class Refused(Exception):
    """What another program says instead of unpacking."""


Unpack = Callable[[list[bytes], Path], Path]


def umoci(layers: list[bytes], scratch: Path) -> Path:
    """The root filesystem that umoci makes of an image."""
    write_layout(scratch / "layout", [gzip.compress(layer, 1) for layer in layers], {})
    image = f"{scratch}/layout:latest"
    run("umoci", "raw", "unpack", "--rootless", "--image", image, scratch / "umoci")
    return scratch / "umoci"


def gnu_tar(layers: list[bytes], scratch: Path) -> Path:
    """What GNU tar makes of a single layer."""
    [layer] = layers
    (scratch / "tar.tar").write_bytes(layer)
    (scratch / "tar").mkdir()
    options = ["--xattrs", "--no-same-owner", "--delay-directory-restore"]
    run("tar", "-xpf", scratch / "tar.tar", *options, "-C", scratch / "tar")
    return scratch / "tar"


def run(program: str, *arguments: str | Path) -> None:
    if shutil.which(program) is None:
        need(f"needs the Debian package {program}")
    done = subprocess.run([program, *arguments], capture_output=True, check=False, umask=0o022)
    if done.returncode:
        raise Refused(done.stderr.decode(errors="replace"))


def as_kept(root: Path) -> dict[str, Facts]:
    """What an image keeps of what another program has unpacked (docs/images.md, "What is kept")."""
    modes = open_to_owner(root)
    return {
        path: facts._replace(mode=kept_mode(facts.kind, modes[path]))
        for path, facts in snapshot(root).items()
        if facts.mtime != SPECIAL_TIME
    }


def kept_mode(kind: str, mode: int) -> int:
    return {
        "directory": mode & 0o1775 | 0o700,
        "file": mode & 0o775 | 0o400,
    }.get(kind, mode)


def open_to_owner(root: Path) -> dict[str, int]:
    """Make everything readable. Returns the modes that there were."""
    modes: dict[str, int] = {}
    inodes: dict[int, int] = {}
    pending = [root]
    while pending:
        path = pending.pop()
        status = path.lstat()
        mode = inodes.setdefault(status.st_ino, stat.S_IMODE(status.st_mode))
        modes[str(path.relative_to(root))] = mode
        if not stat.S_ISLNK(status.st_mode):
            path.chmod(0o700)
        if stat.S_ISDIR(status.st_mode):
            pending.extend(path.iterdir())
    return modes


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=SCRATCH, prefix="cwl-udss-tests-") as directory:
        yield Path(directory)
        open_to_owner(Path(directory))


def compare(
    layers: list[bytes],
    compression: Compression,
    unpack: Unpack,
    known_refusal: str | None = None,
) -> str:
    """Compare what is unpacked. Returns what could be done: "compared", "both refuse", or "the
    other refuses", which only `known_refusal`, a regular expression, allows."""
    with scratch_directory() as scratch:
        refusal = ""
        try:
            theirs = as_kept(unpack(layers, scratch))
        except Refused as refused:
            refusal = str(refused)
        try:
            directory = as_directory(layers, scratch)
        except InvalidImage:
            assert refusal
            return "both refuse"
        if refusal:
            assert known_refusal and re.search(known_refusal, refusal, re.DOTALL), refusal
            return "the other refuses"
        late = late_directories(theirs)
        expected = without_times(theirs, late)
        assert without_times(snapshot(directory), late) == expected
        squashed = as_squashfs(layers, scratch, compression)
        assert without_times(snapshot(squashed), late) == as_in_squashfs(expected)
        return "compared"


def late_directories(found: dict[str, Facts]) -> set[str]:
    """Those that have the time at which they were unpacked. Ours have the time of their entry even
    if something is put into a directory in them later, or 0 if they have none."""
    return {
        path
        for path, facts in found.items()
        if facts.kind == "directory" and facts.mtime > LATEST_TIME
    }


def without_times(found: dict[str, Facts], paths: set[str]) -> dict[str, Facts]:
    return {
        path: facts._replace(mtime=0) if path in paths else facts for path, facts in found.items()
    }


def as_tar_writes(layer: Layer) -> Layer:
    """Each name once, plainly written, a parent or the target of a hard link by no other way, and
    directories open to their owner. GNU tar unpacks no names with ".."; in closed directories it
    loses symbolic links; at the end it sets the modes of what was a directory before."""
    kinds: dict[str, str] = {}
    written = []
    for item in layer:
        name = plainly(item.name)
        plain = item._replace(name=name)
        if item.kind.endswith("directory"):
            plain = item._replace(name=f"{name}/", mode=item.mode | 0o700)
        if item.kind == "hard link":
            plain = item._replace(name=name, what=plainly(item.what))
            if plain.what not in kinds:
                continue
        *parents, _ = itertools.accumulate(name.split("/"), posixpath.join)
        fits = all(kinds.setdefault(path, "directory").endswith("directory") for path in parents)
        if fits and name not in kinds:
            kinds[name] = plain.kind
            written.append(plain)
    return written


def plainly(name: str) -> str:
    return posixpath.normpath(f"/{name}").strip("/") or "."


def test_as_umoci_unpacks() -> None:
    # A file that is a parent: since 0.5.0 umoci replaces it too (its change log, "Fixed"). A hard
    # link to itself, through a symbolic link: it removes what is in the way, then misses it.
    known_refusal = "mkdir parent: .*not a directory|link: .*no such file or directory"
    outcomes: Counter[str] = Counter()

    @settings(max_examples=500, deadline=None)
    @given(stacks(), st.sampled_from(Compression))
    def check(stack: list[Layer], compression: Compression) -> None:
        layers = [packed(layer) for layer in stack]
        outcomes[compare(layers, compression, umoci, known_refusal)] += 1

    check()
    assert outcomes["compared"] > outcomes.total() / 2, outcomes


def test_as_gnu_tar_unpacks() -> None:
    outcomes: Counter[str] = Counter()
    kinds = [*TYPES, "file", "directory", "directory"]
    kinds.remove("device")  # only root can make one

    @settings(max_examples=200, deadline=None)
    @given(stacks(kinds, most=1), st.sampled_from(Compression))
    def check(stack: list[Layer], compression: Compression) -> None:
        layers = [packed(as_tar_writes(layer)) for layer in stack]
        outcomes[compare(layers, compression, gnu_tar)] += 1

    check()
    assert outcomes["compared"] > outcomes.total() / 2, outcomes
