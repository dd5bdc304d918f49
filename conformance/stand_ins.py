# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the images that tests and benchmarks name, where the real ones are out of reach.

They are made of Debian packages and served by a real registry under the names of the real ones;
`python conformance/stand_ins.py` makes them. They are kept between runs.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from debian_packages import MissingPackage, extract_packages
from filelock import FileLock

RELEASE = "bookworm"
# What debian:stable-slim has of use to a tool, and what is needed for the examples.
PACKAGES = (
    *("base-files", "bash", "coreutils", "dash", "debianutils", "diffutils", "findutils", "grep"),
    *("gzip", "hostname", "login", "mount", "passwd", "perl-base", "sed", "tar", "util-linux"),
)
LAYER_PACKAGES = {
    "debian": PACKAGES,
    "tools": ("bwa", "samtools"),
    "procps": ("procps",),
    "python": ("python3", "python3-minimal", "libpython3-stdlib"),
    "node": ("nodejs",),
}
ENVIRONMENT = ("PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8")
ENTRYPOINT = b'#!/bin/sh\necho "entry point" >&2\nexec "$@"\n'
# What that of the image `bash` does: options and nothing at all are for bash.
BASH_ENTRYPOINT = b"""#!/usr/local/bin/bash
set -Eeuo pipefail
if [ "$#" -eq 0 ] || [ "${1#-}" != "$1" ]; then exec bash "$@"; fi
exec "$@"
"""
NEEDED = {
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "busybox": "busybox-static",
}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image to make: which layers, under which names, with what configuration."""

    layers: tuple[str, ...]
    names: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)


IMAGES = (
    Image(
        ("debian", "etc"),
        (
            "docker.io/library/debian:stable-slim",
            "docker.io/library/debian:latest",
            "docker.io/library/debian:stretch-slim",
            "docker.io/library/debian:wheezy",
            "docker.io/library/debian:8",
            "docker.io/library/ubuntu:latest",
        ),
        {"Cmd": ["bash"]},
    ),
    Image(
        ("debian", "etc", "tools"),
        (
            "quay.io/biocontainers/bwa:0.7.17--hed695b0_7",
            "quay.io/biocontainers/samtools:1.16.1--h6899075_1",
        ),
        {"Cmd": ["bash"]},
    ),
    Image(
        # Nextflow looks by ps and awk, in the container, what its tasks use.
        ("debian", "etc", "procps", "awk-name"),
        ("quay.io/nextflow/bash:latest",),
        {"Cmd": ["bash"]},
    ),
    Image(
        ("debian", "etc", "python", "python-name"),
        (
            "docker.io/library/python:3-slim",
            "docker.io/library/python:3",
            "docker.io/library/python:2-slim",
            "docker.io/library/python:2.7",
        ),
        {"Cmd": ["python3"]},
    ),
    Image(
        ("debian", "etc", "node"),
        ("docker.io/library/node:slim", "docker.io/library/node:alpine"),
        {"Cmd": ["node"]},
    ),
    Image(
        ("debian", "etc", "bash"),
        ("docker.io/library/bash:4.4",),
        {"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["bash"]},
    ),
    Image(
        ("debian", "etc", "entrypoint"),
        ("docker.io/library/entrypoint:1",),
        {"Entrypoint": ["/entrypoint.sh"], "Cmd": ["echo", "the image's own command"]},
    ),
    Image(
        ("busybox",),
        (
            "docker.io/library/busybox:1.36",
            "docker.io/library/busybox:latest",
            "docker.io/library/alpine:latest",
        ),
        {"Cmd": ["sh"]},
    ),
)


def cache_directory() -> Path:
    """Return the directory in which images are kept."""
    cache = Path(
        os.environ.get("CWL_UDSS_TESTS_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cwl-udss-tests"
    )
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def stand_in_registry() -> Path:
    """Return the data directory of a registry that has all images, made if need be.

    Raises MissingPackage.
    """
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            raise MissingPackage(f"needs the Debian package {package}")
    cache = cache_directory()
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    data = cache / f"registry-{key}"
    with FileLock(cache / "lock"):
        if not data.exists():
            making = cache / "making"
            shutil.rmtree(making, ignore_errors=True)
            _make_all(making)
            (making / "registry").rename(data)
            shutil.rmtree(making)
    return data


@contextlib.contextmanager
def serve_registry(data: Path) -> Iterator[str]:
    """Run a registry on loopback; give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    configuration = data.with_name(f"{data.name}.{os.getpid()}.yml")
    configuration.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {"filesystem": {"rootdirectory": str(data)}},
                "http": {"addr": address},
            }
        )
    )
    server = subprocess.Popen(
        ["docker-registry", "serve", str(configuration)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://{address}/v2/")
        yield address
    finally:
        server.terminate()
        server.wait()
        configuration.unlink()


def mirrors(address: str) -> str:
    """Return a registries.conf(5) that has the registry at `address` stand in for all it holds."""
    return "".join(
        f'[[registry]]\nprefix = "{name}"\nlocation = "{name}"\n'
        f'[[registry.mirror]]\nlocation = "{address}/{name}"\ninsecure = true\n'
        for name in ("docker.io", "quay.io")
    )


def push(layout: Path, name: str) -> None:
    """Push the image of an OCI layout to a registry on loopback."""
    subprocess.run(
        [
            *("skopeo", "copy", "--quiet", "--dest-tls-verify=false"),
            *(f"oci:{layout}:latest", f"docker://{name}"),
        ],
        # There are no credentials to find; where root has run podman, skopeo may not even look.
        env=os.environ | {"XDG_RUNTIME_DIR": str(layout)},
        check=True,
    )


def _wait_for(url: str) -> None:
    for _ in range(100):
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(url, timeout=5).ok:
                return
        time.sleep(0.1)
    raise RuntimeError(f"no registry at {url}")


def _make_all(directory: Path) -> None:
    directory.mkdir()
    layers = {
        "busybox": _busybox_layer(),
        "entrypoint": _layer({"entrypoint.sh": ENTRYPOINT}, {}),
        "bash": _layer(
            {"usr/local/bin/docker-entrypoint.sh": BASH_ENTRYPOINT},
            {"usr/local/bin/bash": "/bin/bash"},
        ),
    }
    for name, packages in LAYER_PACKAGES.items():
        layers[name] = _debian_layer(directory / f"{name}.tar", packages)
    # What the packages' scripts make when they are installed; without it names are looked up by DNS
    # before /etc/hosts.
    layers["etc"] = _layer({"etc/nsswitch.conf": b"hosts: files dns\n"}, {})
    # In Debian `python` is a package of a link, and `awk` a choice among several.
    layers["python-name"] = _layer({}, {"usr/local/bin/python": "/usr/bin/python3"})
    layers["awk-name"] = _layer({}, {"usr/local/bin/awk": "/usr/bin/mawk"})
    data = directory / "registry"
    data.mkdir()
    with serve_registry(data) as address:
        for number, image in enumerate(IMAGES):
            layout = directory / f"image{number}"
            write_layout(layout, [layers[name] for name in image.layers], image.config)
            for name in image.names:
                push(layout, f"{address}/{name}")


def _debian_layer(tar: Path, packages: tuple[str, ...]) -> bytes:
    extract_packages(tar, RELEASE, packages)
    return gzip.compress(tar.read_bytes(), compresslevel=1, mtime=0)


def _busybox_layer() -> bytes:
    program = shutil.which("busybox") or ""
    applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout
    links = {f"bin/{name}": "busybox" for name in applets.split() if name != "busybox"}
    return _layer({"bin/busybox": Path(program).read_bytes()}, links)


def _layer(files: dict[str, bytes], links: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o755, len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return gzip.compress(buffer.getvalue(), mtime=0)


def write_layout(path: Path, layers: list[bytes], config: dict[str, Any]) -> None:
    """Write an OCI layout (image-spec image-layout.md) with one image in it."""
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        media_type = f"application/vnd.oci.image.{media_type}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    diff_ids = [f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}" for layer in layers]
    machine = platform.machine()
    image = {
        "os": "linux",
        "architecture": _MACHINES.get(machine, machine),
        "config": {"Env": list(ENVIRONMENT), **config},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(image).encode(), "config.v1+json"),
        "layers": [blob(layer, "layer.v1.tar+gzip") for layer in layers],
    }
    entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (path / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))


if __name__ == "__main__":
    print(stand_in_registry())
