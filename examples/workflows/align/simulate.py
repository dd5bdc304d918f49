#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the data of this example: a reference, and paired reads of two samples with variants.

The same at every run. Reads are 100 bases long, from fragments of about 300; one base in 500 is
misread, and each sample differs from the reference at one base in 1,000. Some pairs come from
something else and do not align.
"""

from __future__ import annotations

import gzip
import random
from pathlib import Path

REFERENCE_LENGTH = 20_000
READ_LENGTH = 100
PAIRS = 1_000
SAMPLES = {"mother": 10, "child": 25}  # with the number of pairs from something else

DATA = Path(__file__).parent / "data"
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def changed(sequence: str, rate: float, source: random.Random) -> str:
    """The sequence with bases replaced by others at this rate."""
    return "".join(
        source.choice("ACGT".replace(base, "")) if source.random() < rate else base
        for base in sequence
    )


def write_fasta(path: Path, name: str, sequence: str) -> None:
    """Write a sequence in lines of 70 bases."""
    lines = [sequence[start : start + 70] for start in range(0, len(sequence), 70)]
    path.write_text("\n".join([f">{name}", *lines, ""]))


def write_fastq(path: Path, reads: list[str]) -> None:
    """Write reads, compressed, without a time in the header so that it is always the same file."""
    text = "".join(
        f"@read{number}\n{read}\n+\n{'I' * len(read)}\n" for number, read in enumerate(reads)
    )
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def main() -> None:
    """Write all files."""
    source = random.Random(42)
    DATA.mkdir(exist_ok=True)
    reference = "".join(source.choice("ACGT") for _ in range(REFERENCE_LENGTH))
    write_fasta(DATA / "reference.fa", "chr1", reference)
    other = "".join(source.choice("ACGT") for _ in range(REFERENCE_LENGTH))
    for sample, foreign in SAMPLES.items():
        own = changed(reference, 0.001, source)
        pairs = []
        for number in range(PAIRS):
            genome = other if number < foreign else own
            length = round(source.gauss(300, 20))
            start = source.randrange(len(genome) - length)
            fragment = genome[start : start + length]
            forward = fragment[:READ_LENGTH]
            reverse = fragment[-READ_LENGTH:].translate(COMPLEMENT)[::-1]
            pairs.append((changed(forward, 0.002, source), changed(reverse, 0.002, source)))
        for number in (1, 2):
            reads = [pair[number - 1] for pair in pairs]
            write_fastq(DATA / f"{sample}_{number}.fastq.gz", reads)


if __name__ == "__main__":
    main()
