# SPDX-License-Identifier: Apache-2.0
"""Files that hold images, damaged at random: whatever is in them, our readers say so in a sentence.

    python benchmarks/fuzz_images.py [--mutations 10000] [--seed 1]

Each mutation follows from its number. They are read in processes of their own, which have limits;
what breaks one is named by its number, and printed again by --only NUMBER.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cwl_udss.errors import ImageError
from cwl_udss.images.formats.sif.configuration import sif_configuration
from cwl_udss.images.formats.sif.layout import (
    DESCRIPTOR,
    HEADER,
    MAGIC,
    PARTITION,
    VERSION,
    ObjectKind,
)
from cwl_udss.images.formats.sif.reader import read_sif
from cwl_udss.images.formats.squashfs.lookup import read_file
from cwl_udss.images.formats.squashfs.reader import read_squashfs

MOST_SECONDS = 20  # for one: hundreds of times what an honest one of this size takes
MOST_MEGABYTES = 400
PER_PROCESS = 500
SUPERBLOCK = 96
VARIANTS = (
    [],
    ["-noI", "-noX", "-noF"],  # damage reaches the fields
    ["-noI", "-noD", "-noF", "-noX", "-b", "4K"],
    ["-comp", "xz"],
    ["-comp", "lzo"],
    ["-comp", "lz4"],
    ["-comp", "zstd", "-b", "1M"],
    ["-no-fragments", "-noI"],
)
VALUES = (0, 1, 3, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1 << 24, (1 << 31) - 1, (1 << 32) - 1)

Mutate = Callable[[bytearray, random.Random], None]


def main() -> int:
    """Print what has come of the mutations; 1 if any was not refused as it ought to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="NUMBER")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, directory, first, last = options.worker
        return work(kind, Path(directory), options.seed, range(int(first), int(last)))
    with tempfile.TemporaryDirectory() as scratch:
        make_corpus(Path(scratch))
        numbers = range(options.mutations)
        if options.only is not None:
            numbers = range(options.only, options.only + 1)
        failed = [fuzz(kind, Path(scratch), options.seed, numbers) for kind in ("squashfs", "sif")]
    return int(any(failed))


def fuzz(kind: str, scratch: Path, seed: int, numbers: range) -> bool:
    """Read so many of a kind. Says whether any failed."""
    counts: collections.Counter[str] = collections.Counter()
    most_memory = 0
    begun = time.monotonic()
    for first in range(numbers.start, numbers.stop, PER_PROCESS):
        last = min(first + PER_PROCESS, numbers.stop)
        command = [sys.executable, __file__, "--seed", str(seed)]
        command += ["--worker", kind, str(scratch), str(first), str(last)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        for line in lines:
            result, _, detail = line.partition(" ")
            if result == "memory":
                most_memory = max(most_memory, int(detail))
                continue
            counts[result] += 1
            if result == "failed":
                print(f"{kind} {detail}")
        if done.returncode != 0:
            counts["failed"] += 1
            print(f"{kind} {first + len(lines)}: exit code {done.returncode}\n{done.stderr}")
    seconds = time.monotonic() - begun
    print(
        f"{kind}: {counts['read']} read, {counts['refused']} refused, {counts['failed']} failed; "
        f"{seconds:.0f} s, at most {most_memory} MB"
    )
    if most_memory > MOST_MEGABYTES:
        print(f"{kind}: more than {MOST_MEGABYTES} MB")
    return bool(counts["failed"]) or most_memory > MOST_MEGABYTES


def work(kind: str, scratch: Path, seed: int, numbers: range) -> int:
    """Read the mutations with these numbers, and print a line for each."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    signal.signal(signal.SIGALRM, too_long)
    corpus = [path.read_bytes() for path in sorted(scratch.glob(f"*.{kind}"))]
    path = scratch / f"mutation-{os.getpid()}"
    for number in numbers:
        chance = random.Random(f"{kind} {seed} {number}")
        damaged = bytearray(chance.choice(corpus))
        for _ in range(chance.choice((1, 1, 2, 5, 20))):
            chance.choice(MUTATIONS[kind])(damaged, chance)
        path.write_bytes(damaged)
        signal.alarm(MOST_SECONDS)
        try:
            READERS[kind](path)
            print("read", flush=True)
        except ImageError as error:
            lines = str(error).splitlines()
            print("refused" if len(lines) == 1 else f"failed {number}: {error!r}", flush=True)
        except Exception as error:  # noqa: BLE001 (what is looked for)
            print(f"failed {number}: {error!r}", flush=True)
        finally:
            signal.alarm(0)
    path.unlink(missing_ok=True)
    print(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}")
    return 0


def too_long(_: int, __: object) -> None:
    """Told by SIGALRM."""
    raise TimeoutError(f"more than {MOST_SECONDS} s")


def read_all(path: Path, offset: int = 0) -> None:
    """All that is in a SquashFS file, whether or not the first thing is sound."""
    with contextlib.suppress(ImageError):
        read_file(path, "etc/../link/./f1", offset)
    _, contents = read_squashfs(path, offset)
    for _, content in contents:
        for _ in content:
            pass


def read_sif_file(path: Path) -> None:
    """All that is read of a SIF file."""
    found = read_sif(path, "the file")
    sif_configuration(found)
    read_all(path, found.root.offset)


READERS: dict[str, Callable[[Path], None]] = {"squashfs": read_all, "sif": read_sif_file}


def make_corpus(scratch: Path) -> None:
    """Small images in all that readers know."""
    root = scratch / "root"
    for name in ("etc", "many", "deep/er"):
        (root / name).mkdir(parents=True)
    for number in range(300):
        (root / f"many/file{number}").write_bytes(b"%d" % (number % 7) * number)
    chance = random.Random(1)
    for number, size in enumerate((0, 5, 4096, 5000, 70_000, 200_000)):
        (root / f"f{number}").write_bytes(chance.randbytes(size // 2) + bytes(size - size // 2))
    with (root / "holes").open("wb") as stream:
        stream.seek(300_000)
        stream.write(b"end")
    (root / "link").symlink_to("deep/../")
    os.link(root / "f3", root / "deep/er/hard")
    for name in ("f1", "f2", "deep"):
        with contextlib.suppress(OSError):
            os.setxattr(root / name, "user.note", b"a note" * 20)
    for number, options in enumerate(VARIANTS):
        image = scratch / f"{number}.squashfs"
        common = ["-noappend", "-quiet", "-no-progress", "-processors", "1"]
        subprocess.run(
            ["mksquashfs", root, image, *common, *options], check=True, capture_output=True
        )
        (scratch / f"{number}.sif").write_bytes(sif_around(image.read_bytes()))


def sif_around(squashfs: bytes) -> bytes:
    """A SIF file with a root filesystem and a configuration."""
    config = b'{"Env": ["A=b"], "Cmd": ["sh"]}'
    parts = [
        (ObjectKind.DEFINITION, b"bootstrap: docker\n", b"definition", b""),
        (ObjectKind.JSON, config, b"oci-config.json", b""),
        (ObjectKind.PARTITION, squashfs, b"root", PARTITION.pack(1, 2, b"02")),
        (ObjectKind.SIGNATURE, b"a signature", b"", struct.pack("<i20s", 1, b"f" * 20)),
    ]
    start, total = 4096, 48
    data = start + total * DESCRIPTOR.size
    table, content = b"", b""
    for number, (kind, made, name, extra) in enumerate(parts, 1):
        place = data + len(content)
        fields = (kind, 1, number, 0xF0000001, 0, place, len(made), len(made), 0, 0, 0, 0)
        table += DESCRIPTOR.pack(*fields, name, extra)
        content += made
    header = HEADER.pack(
        *(b"#!/usr/bin/env run-singularity\n", MAGIC, VERSION, b"02", bytes(16), 0, 0),
        *(total - len(parts), total, start, total * DESCRIPTOR.size, data, len(content)),
    )
    return (header.ljust(start, b"\0") + table).ljust(data, b"\0") + content


def flip_a_bit(damaged: bytearray, chance: random.Random) -> None:
    """Anywhere."""
    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)


def flip_near_the_end(damaged: bytearray, chance: random.Random) -> None:
    """Where SquashFS has its tables."""
    damaged[-1 - chance.randrange(min(20_000, len(damaged)))] ^= 1 << chance.randrange(8)


def cut_off(damaged: bytearray, chance: random.Random) -> None:
    """Anywhere."""
    if chance.random() < 0.3:  # the others are to be read further
        del damaged[chance.randrange(1, len(damaged)) :]


def set_a_number(damaged: bytearray, chance: random.Random) -> None:
    """To one that numbers are compared with."""
    _put(damaged, chance, chance.randrange(len(damaged)))


def set_a_number_near_the_end(damaged: bytearray, chance: random.Random) -> None:
    """In the tables."""
    _put(damaged, chance, max(len(damaged) - chance.randrange(20_000), 0))


def set_a_field_of_the_beginning(damaged: bytearray, chance: random.Random) -> None:
    """In the superblock, the header or the table of descriptors."""
    place = chance.choice((chance.randrange(SUPERBLOCK), 4096 + chance.randrange(4 * 585)))
    _put(damaged, chance, place)


def copy_a_piece(damaged: bytearray, chance: random.Random) -> None:
    """From one place to another, where it means another thing."""
    source, target = (chance.randrange(len(damaged)) for _ in range(2))
    size = chance.choice((2, 4, 8, 16, 32, 100, 585))
    piece = damaged[source : source + size]
    damaged[target : target + len(piece)] = piece


def _put(damaged: bytearray, chance: random.Random, place: int) -> None:
    form = chance.choice(("<B", "<H", "<I", "<Q"))
    size = struct.calcsize(form)
    value = chance.choice((*VALUES, (1 << 64) - 1, chance.getrandbits(64), len(damaged)))
    damaged[place : place + size] = struct.pack(form, value & ((1 << 8 * size) - 1))


ANYWHERE: tuple[Mutate, ...] = (flip_a_bit, cut_off, set_a_number, copy_a_piece)
IN_TABLES: tuple[Mutate, ...] = (flip_near_the_end, set_a_number_near_the_end)
MUTATIONS: dict[str, tuple[Mutate, ...]] = {
    "squashfs": (*ANYWHERE, *IN_TABLES, *IN_TABLES, set_a_field_of_the_beginning),
    "sif": (*ANYWHERE, *IN_TABLES, *[set_a_field_of_the_beginning] * 4),
}


if __name__ == "__main__":
    sys.exit(main())
