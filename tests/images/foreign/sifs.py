# SPDX-License-Identifier: Apache-2.0
"""SIF files that Apptainer makes without root, and what it has beside them.

What all of them have that are made of an image of a registry or an archive (Apptainer 1.4.5): a
definition file, `inspect-metadata.json`, `oci-config.json` (the image's configuration) and one
partition, whose SquashFS belongs to root and has `.singularity.d` with scripts.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from foreign.sid import Sid
from foreign.workshop import Workshop

COMPRESSIONS = ("gzip", "lz4", "lzma", "lzo", "xz", "zstd")
PASSPHRASE = "open sesame"
ENCRYPTION = {"APPTAINER_ENCRYPTION_PASSPHRASE": PASSPHRASE}
# Machines as siftool numbers them and as registries call them: this one, and one that it is not.
MACHINES = {"x86_64": ("2", "amd64"), "aarch64": ("4", "arm64")}
THIS_MACHINE = MACHINES.get(platform.machine(), MACHINES["x86_64"])
[OTHER_MACHINE] = [names for names in MACHINES.values() if names != THIS_MACHINE]
# What a definition file adds. DATA and PATH are made of others when the container starts.
ENVIRONMENT = """\
%environment
    export BASE=/opt/base
    export DATA="$BASE/data"
    export PATH="/opt/own/bin:$PATH"
    export EARLIER="${EARLIER:-as the image has it}"
"""
DEFINITION = f"""\
{ENVIRONMENT}
%runscript
    echo "runs with $DATA:" "$@"

%labels
    Maintainer somebody
    org.example.version 2
"""


def build(sid: Sid, target: Path, source: str | Path, *options: str) -> None:
    """Have Apptainer make a SIF, or a sandbox directory, of what it finds at `source`."""
    sid.run("apptainer", "build", *options, target, source, env=ENCRYPTION)


def sif_of_archive(
    workshop: Workshop, image: str = "busybox", compression: str | None = None
) -> Path:
    """A SIF made of an image of `docker save`, which has the configuration CONFIG."""

    def make(path: Path) -> None:
        packer = [f"--mksquashfs-args=-comp {compression}"] if compression else []
        build(workshop.sid, path, f"docker-archive:{workshop.archive(image)}", *packer)

    return workshop.keep(f"{image}{compression or ''}.sif", make)


def sif_of_definition(workshop: Workshop, image: str = "busybox") -> Path:
    """A SIF made of a definition file that starts from an archive.

    It has an `oci-config.json`: that of the image it started from, of which %environment and
    %runscript have changed nothing.
    """
    header = f"Bootstrap: docker-archive\nFrom: {workshop.archive(image)}"
    return _defined(workshop, f"{image}-defined.sif", header)


def sif_of_sif(workshop: Workshop) -> Path:
    """A SIF made of a definition file that starts from another SIF, of which it has the
    `oci-config.json`, too, and its definition file in .singularity.d/bootstrap_history."""
    header = f"Bootstrap: localimage\nFrom: {sif_of_archive(workshop)}"
    return _defined(workshop, "derived.sif", header)


def sif_of_directory(workshop: Workshop, image: str = "busybox") -> Path:
    """A SIF made of a definition file that starts from a directory: it has no `oci-config.json`,
    and so all that is known of its environment is in its scripts."""
    header = f"Bootstrap: localimage\nFrom: {sandbox_directory(workshop, image)}"
    return _defined(workshop, f"{image}-of-directory.sif", header)


def _defined(workshop: Workshop, name: str, header: str) -> Path:
    def make(path: Path) -> None:
        definition = path.parent / "definition"
        definition.write_text(f"{header}\n\n{DEFINITION}")
        # Of much more than busybox it takes most of a minute to pack it as well as by default.
        build(workshop.sid, path, definition, "--mksquashfs-args=-Xcompression-level 1")

    return workshop.keep(name, make)


def sandbox_directory(workshop: Workshop, image: str = "busybox") -> Path:
    """A directory of `apptainer build --sandbox`: with .singularity.d, without oci-config.json."""
    source = f"docker-archive:{workshop.archive(image)}"
    return workshop.keep(
        f"{image}-sandbox", lambda path: build(workshop.sid, path, source, "--sandbox")
    )


def overlay_image(workshop: Workshop) -> Path:
    """A file of `apptainer overlay create`: ext3 with the directories upper and work, of 64 MiB,
    the least it makes."""
    create = ["apptainer", "overlay", "create", "--sparse", "--size", "64"]
    return workshop.keep("overlay.img", lambda path: workshop.sid.run(*create, path))


def sif_with_overlay(workshop: Workshop) -> Path:
    """A SIF with a second partition, ext3, in which /added has been written."""

    def make(path: Path) -> None:
        shutil.copy(sif_of_archive(workshop), path)
        workshop.sid.run("apptainer", "overlay", "create", "--sparse", "--size", "64", path)
        write = "echo by hand > /added"
        workshop.sid.run("apptainer", "exec", "--writable", path, "sh", "-c", write)

    return workshop.keep("overlay.sif", make)


def signed_sif(workshop: Workshop) -> Path:
    """A SIF with a signature object, by a key that nobody has."""

    def make(path: Path) -> None:
        shutil.copy(sif_of_archive(workshop), path)
        home = {"HOME": str(path.parent)}
        key = ["--name=Test", "--email=test@example.org", "--comment=", "--password="]
        workshop.sid.run(
            *("apptainer", "key", "newpair", "--push=false", "--bit-length=2048", *key), env=home
        )
        workshop.sid.run("apptainer", "sign", path, env=home)

    return workshop.keep("signed.sif", make)


def encrypted_sif(workshop: Workshop) -> Path:
    """A SIF that opens by PASSPHRASE. Apptainer without root encrypts by gocryptfs: the partition,
    of file system 6, for which its siftool has no name, begins as a SquashFS does and is one, of
    the encrypted files and `gocryptfs.conf`."""
    source = f"docker-archive:{workshop.archive()}"
    return workshop.keep(
        "encrypted.sif", lambda path: build(workshop.sid, path, source, "--encrypt")
    )


def bare_sif(workshop: Workshop, machine: tuple[str, str] = THIS_MACHINE) -> Path:
    """A SIF of a root filesystem and nothing else: no definition file, no configuration, and no
    scripts in it. Of OTHER_MACHINE it is only said to be for that."""
    root = workshop.squashfs("bare.sqfs", workshop.unpacked())
    return sif_of_partitions(workshop, f"bare-{machine[1]}.sif", (root, "2", "1", machine[0]))


def sif_of_partitions(
    workshop: Workshop, name: str, *partitions: tuple[Path, str, str, str]
) -> Path:
    """A SIF of file systems, each with the numbers that `siftool add --help` has for its kind
    (partition), file system and machine."""

    def make(path: Path) -> None:
        workshop.sid.run("siftool", "new", path)
        for content, kind, filesystem, machine in partitions:
            numbers = ["--parttype", kind, "--partfs", filesystem, "--partarch", machine]
            workshop.sid.run("siftool", "add", "--datatype", "4", *numbers, path, content)

    return workshop.keep(name, make)
