# SPDX-License-Identifier: Apache-2.0
"""Pulling and converting an image from a registry on loopback, against other tools, and against the
fastest programs for each part in a pipe (which checks nothing, and can do one layer only). And what
an image of a million files needs, against one of a hundred thousand.

Each run has a filesystem of its own: an empty directory in memory; as root a new ext4 in a file,
too, as ext4 slows several-fold after large deletes.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from measure import (
    COMMANDS,
    Finding,
    Run,
    in_turn,
    print_findings,
    print_table,
    ratio,
    run,
    setting,
)
from peers import podman_command
from stand_ins import RELEASE, cache_directory, push, stand_in_registry, write_layout

# About 200 MB and 10,000 entries.
PACKAGES = ("bash", "coreutils", "git", "perl", "python3", "samtools", "tzdata", "vim")
NAME = "docker.io/library/benchmark:1"
EXT4_SIZE = 2 << 30

SQUASHFS = "cwl-udss images pull: SquashFS"
DIRECTORY = "cwl-udss images pull: directory"
UMOCI = "skopeo copy + umoci unpack"
TAR2SQFS = "curl | igzip | tar2sqfs -c lz4"
TAR = "curl | igzip | tar -x"
PODMAN = "podman pull"
CH_IMAGE = "ch-image pull"
PEERS = (PODMAN, CH_IMAGE, UMOCI, TAR2SQFS, TAR)
MEMORY = "tmpfs"
MANY, FEW = 1_000_000, 100_000


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A shell script for an empty directory, and the programs that it is left out without."""

    script: str
    programs: tuple[str, ...] = ()
    afterwards: str = ":"
    """What makes the directory removable."""


def main() -> list[Finding]:
    """Print a table for memory, and as root one for a disk."""
    with setting() as here, serve_tls(here.scratch) as (tls_registry, certificate):
        # In a process of its own: the peak memory of a child is at least its parent's.
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            push(other.submit(layout).result(), f"{here.registry}/{NAME}")
        contestants = {
            name: contestant
            for name, contestant in all_contestants(
                here.registry, tls_registry, certificate
            ).items()
            if all(map(shutil.which, contestant.programs))
        }
        findings = []
        for filesystem, fresh in filesystems().items():
            results = in_turn(
                {
                    name: in_fresh_filesystem(contestant, fresh, here.environment)
                    for name, contestant in contestants.items()
                },
                peers=PEERS,
            )
            title = f"an image of {size()} pulled and converted on {filesystem}"
            print_table(title, results, UMOCI, others=[x for x in (TAR2SQFS, TAR) if x in results])
            findings += found(filesystem, results)
        return findings + many_files(here.scratch, here.environment)


def many_files(scratch: Path, environment: Mapping[str, str]) -> list[Finding]:
    """Print what small files cost, by their number, and return what there is a bar for."""
    results = {}
    for kind in ("squashfs", "directory"):
        for count in (FEW, MANY):
            packed = scratch / f"{count}.tar.gz"
            if not packed.exists():
                write_small_files(packed, count)
            pull = f"{COMMANDS}/cwl-udss images pull --udss-store . {packed} --udss-format {kind}"
            run_once = in_fresh_filesystem(Contestant(script=pull), memory, environment)
            results[kind, count] = [run_once() for _ in range(3 if count == FEW else 1)]
    findings = []
    for kind in ("squashfs", "directory"):
        few, many = (
            statistics.median(run.seconds for run in results[kind, count]) for count in (FEW, MANY)
        )
        megabytes = results[kind, MANY][0].megabytes
        print(f"{kind}: {FEW:,} files {few:.1f} s; {MANY:,} files {many:.1f} s, {megabytes:.0f} MB")
        findings += [
            Finding(f"{MANY:,} files to {kind}: × {FEW:,}", many / few, 11),
            Finding(f"memory for {MANY:,} files to {kind}", megabytes, 150, " MB"),
        ]
    return findings


def write_small_files(path: Path, count: int) -> None:
    """Write a layer with files of 7 bytes, 20 in a directory."""
    with (
        gzip.open(path, "wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w|") as layer,
    ):
        for number in range(count):
            member = tarfile.TarInfo(f"opt/package{number // 20}/module{number}.py")
            member.size = 7
            layer.addfile(member, io.BytesIO(b"%07d" % number))


def found(filesystem: str, results: Mapping[str, Sequence[Run]]) -> list[Finding]:
    """Return what there is a bar for. A pipe to a disk syncs nothing, so for that there is none."""
    memory = max(run.megabytes for name in (SQUASHFS, DIRECTORY) for run in results[name])
    bars = [(SQUASHFS, UMOCI, 0.25), (SQUASHFS, TAR2SQFS, 1.5)]
    bars += [(DIRECTORY, TAR, 1.5)] if filesystem == MEMORY else []
    return [
        *(
            Finding(f"{ours} on {filesystem}: × {other}", ratio(results[ours], results[other]), bar)
            for ours, other, bar in bars
            if other in results
        ),
        Finding(f"memory of a pull on {filesystem}", memory, 150, " MB"),
    ]


def all_contestants(registry: str, tls_registry: str, certificate: Path) -> dict[str, Contestant]:
    """Return what runs against each other."""
    pull = f"{COMMANDS}/cwl-udss images pull --udss-store . {NAME} --udss-format"
    download = f"curl -sSf http://{registry}/v2/{NAME.rpartition(':')[0]}/blobs/{layer()}"
    podman = " ".join(podman_command(Path("$PWD")))
    return {
        SQUASHFS: Contestant(script=f"{pull} squashfs"),
        DIRECTORY: Contestant(script=f"{pull} directory"),
        UMOCI: Contestant(
            script=f"skopeo copy -q --src-tls-verify=false docker://{registry}/{NAME} oci:oci:1 && "
            "umoci unpack --rootless --image oci:1 bundle",
            programs=("skopeo", "umoci"),
            # It leaves directories that not even their owner may change.
            afterwards="chmod -R u+rwx .",
        ),
        TAR2SQFS: Contestant(
            script=f"{download} | igzip -d | tar2sqfs -q -c lz4 image.sqfs",
            programs=("curl", "igzip", "tar2sqfs"),
        ),
        TAR: Contestant(
            # Only root may make devices.
            script=f"{download} | igzip -d | tar -x --exclude='./dev/*'",
            programs=("curl", "igzip"),
            afterwards="chmod -R u+rwx .",
        ),
        PODMAN: Contestant(
            script=f"{podman} pull -q --tls-verify=false {registry}/{NAME}",
            programs=("podman", "runc"),
            afterwards=":" if os.geteuid() == 0 else "podman unshare rm -rf root run",
        ),
        CH_IMAGE: Contestant(
            # It checks certificates by requests, and wants to know its user.
            script=f"REQUESTS_CA_BUNDLE={certificate} USER=somebody "
            f"ch-image -s $PWD/images --no-cache pull {tls_registry}/{NAME}",
            programs=("ch-image", "openssl"),
            afterwards="chmod -R u+rwx .",
        ),
    }


def in_fresh_filesystem(
    contestant: Contestant,
    fresh: Callable[[], AbstractContextManager[Path]],
    environment: Mapping[str, str],
) -> Callable[[], Run]:
    """Return what runs a contestant once."""

    def run_once() -> Run:
        with fresh() as directory:
            result = run(["sh", "-c", f"cd {directory} && {contestant.script}"], environment)
            subprocess.run(["sh", "-c", contestant.afterwards], cwd=directory, check=True)
            return result

    return run_once


def layout() -> Path:
    """Return an OCI layout with the image, made if need be and kept."""
    path = cache_directory() / "benchmark-image-with-history"
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
            # Without any history ch-image refuses it.
            subprocess.run(
                ["umoci", "config", "--image", f"{made}:latest", "--history.comment", "made"],
                check=True,
            )
            listing = subprocess.run(["tar", "-tf", tar], check=True, capture_output=True)
            (made / "size").write_text(
                f"{tar.stat().st_size >> 20} MB, {len(listing.stdout.splitlines()):,} entries"
            )
            made.rename(path)
    return path


def size() -> str:
    """Return what the image holds."""
    return (layout() / "size").read_text()


def layer() -> str:
    """Return the digest of the image's layer."""
    entry = json.loads((layout() / "index.json").read_text())["manifests"][0]
    manifest = layout() / "blobs" / entry["digest"].replace(":", "/")
    return str(json.loads(manifest.read_text())["layers"][0]["digest"])


@contextlib.contextmanager
def serve_tls(directory: Path) -> Iterator[tuple[str, Path]]:
    """Serve the stand-in images to what speaks TLS only; give address and certificate."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", certificate, "-keyout", key),
        ],
        check=True,
        capture_output=True,
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    configuration = directory / "tls.json"
    configuration.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {"filesystem": {"rootdirectory": str(stand_in_registry())}},
                "http": {
                    "addr": address,
                    "tls": {"certificate": str(certificate), "key": str(key)},
                },
            }
        )
    )
    server = subprocess.Popen(
        ["docker-registry", "serve", configuration],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield address, certificate
    finally:
        server.terminate()
        server.wait()


def filesystems() -> Mapping[str, Callable[[], AbstractContextManager[Path]]]:
    """Return what makes an empty filesystem for a run, by the filesystem's name."""
    return {MEMORY: memory} | ({"a new ext4": ext4} if os.geteuid() == 0 else {})


@contextlib.contextmanager
def memory() -> Iterator[Path]:
    """An empty directory in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@contextlib.contextmanager
def ext4() -> Iterator[Path]:
    """An ext4 in a file."""
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


if __name__ == "__main__":
    print_findings(main())
