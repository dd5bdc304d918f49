# SPDX-License-Identifier: Apache-2.0
"""Pulling and converting an image from a registry on loopback, against skopeo and umoci.

Each run has a filesystem of its own, as ext4 slows several-fold after large deletes: as root a new
ext4 in a file, otherwise an empty directory in memory.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from measure import COMMANDS, Run, in_turn, print_table, run, setting
from stand_ins import RELEASE, cache_directory, push, write_layout

# About 200 MB and 10,000 entries.
PACKAGES = ("bash", "coreutils", "git", "perl", "python3", "samtools", "tzdata", "vim")
NAME = "docker.io/library/benchmark:1"
EXT4_SIZE = 2 << 30


def main() -> None:
    """Print the table."""
    with setting() as here:
        # In a process of its own: the peak memory of a child is at least its parent's.
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            push(other.submit(layout).result(), f"{here.registry}/{NAME}")

        def ours() -> Run:
            with fresh_filesystem() as directory:
                return run(
                    [COMMANDS / "cwl-udss", "images", "pull", "--udss-store", directory, NAME],
                    here.environment,
                )

        def theirs() -> Run:
            with fresh_filesystem() as directory:
                script = (
                    f"skopeo copy -q --src-tls-verify=false docker://{here.registry}/{NAME} "
                    f"oci:{directory}/oci:1 && "
                    f"umoci unpack --rootless --image {directory}/oci:1 {directory}/bundle"
                )
                return run(["sh", "-c", script], here.environment)

        results = in_turn({"cwl-udss images pull": ours, "skopeo copy + umoci unpack": theirs})
    print_table(
        f"an image of {size()} pulled and converted to a directory on {filesystem()}",
        results,
        "skopeo copy + umoci unpack",
        "bar: at most 1 ×, under 250 MB",
    )


def layout() -> Path:
    """Return an OCI layout with the image, made if need be and kept."""
    path = cache_directory() / "benchmark-image"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as name:
            tar = Path(name) / "image.tar"
            subprocess.run(
                [
                    *("mmdebstrap", "--quiet", "--variant=extract"),
                    *(f"--include={','.join(PACKAGES)}", RELEASE, tar),
                ],
                check=True,
            )
            made = Path(name) / "layout"
            write_layout(made, [gzip.compress(tar.read_bytes(), compresslevel=6, mtime=0)], {})
            listing = subprocess.run(["tar", "-tf", tar], check=True, capture_output=True)
            (made / "size").write_text(
                f"{tar.stat().st_size >> 20} MB, {len(listing.stdout.splitlines()):,} entries"
            )
            made.rename(path)
    return path


def size() -> str:
    """Return what the image holds."""
    return (layout() / "size").read_text()


def filesystem() -> str:
    """Return where each run writes."""
    return "a new ext4" if os.geteuid() == 0 else "tmpfs"


@contextlib.contextmanager
def fresh_filesystem() -> Iterator[Path]:
    """An empty filesystem, for one run."""
    if os.geteuid() == 0:
        with tempfile.TemporaryDirectory() as name:
            image, mounted = Path(name) / "ext4", Path(name) / "mounted"
            with image.open("wb") as stream:
                stream.truncate(EXT4_SIZE)
            mounted.mkdir()
            subprocess.run(["mkfs.ext4", "-q", image], check=True)
            subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
            try:
                yield mounted
            finally:
                subprocess.run(["umount", mounted], check=True)
    else:
        path = Path(tempfile.mkdtemp(dir="/dev/shm"))
        try:
            yield path
        finally:
            # umoci leaves directories that not even their owner may change.
            subprocess.run(["chmod", "-R", "u+rwx", path], check=True)
            shutil.rmtree(path)


if __name__ == "__main__":
    main()
