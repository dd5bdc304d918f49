# SPDX-License-Identifier: Apache-2.0
"""What images of other programs are made with, and where they are kept between runs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import stand_ins
from filelock import FileLock
from foreign.sid import Sid

# What a SIF, an enroot image and the like make of a configuration is made of this one.
CONFIG: dict[str, Any] = {
    "Env": [
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "GREETING=hello world",
        'QUOTED=it\'s "$5"',
        "EMPTY=",
    ],
    "Entrypoint": ["/bin/echo", "the entry point"],
    "Cmd": ["two words", "last"],
    "WorkingDir": "/opt/work",
    "User": "1234:56",
    "Labels": {"org.example.label": "of the image"},
}
STAND_INS = {"busybox": "busybox:1.36", "debian": "debian:stable-slim"}


@dataclass(frozen=True)
class Workshop:
    """Makes images with the programs of sid, each once. Who changes one copies it before."""

    sid: Sid
    registry: str
    """The address of the registry with the stand-ins."""

    @cached_property
    def _shelf(self) -> Path:
        """Another one if anything that images are made of has changed."""
        key = hashlib.sha256(self.sid.root.name.encode())
        recipes = [Path(stand_ins.__file__), *sorted(Path(__file__).parent.glob("*.py"))]
        for path in recipes:
            if not path.name.startswith("test_"):
                key.update(path.read_bytes())
        return stand_ins.cache_directory() / f"foreign-{key.hexdigest()[:16]}"

    def keep(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the file or directory of a name, which `make` writes if it is not there."""
        self._shelf.mkdir(exist_ok=True)
        kept = self._shelf / name
        with FileLock(self._shelf / f"{name}.lock"):
            if not kept.exists():
                making = self._shelf / f"{name}.making"
                shutil.rmtree(making, ignore_errors=True)
                making.mkdir()
                make(making / name)
                (making / name).rename(kept)
                shutil.rmtree(making)
        return kept

    def archive(self, image: str = "busybox") -> Path:
        """An archive of `docker save` with a stand-in, "busybox" or "debian", that has CONFIG."""

        def make(path: Path) -> None:
            layout = path.parent / "layout"
            source = f"docker://{self.registry}/docker.io/library/{STAND_INS[image]}"
            self.sid.run(
                *("skopeo", "copy", "--quiet", "--src-tls-verify=false", "--insecure-policy"),
                *(source, f"oci:{layout}:image"),
            )
            self.sid.run("umoci", "config", "--image", f"{layout}:image", *_config_options())
            target = f"docker-archive:{path}:example.org/{image}:1"
            copy = ["skopeo", "copy", "--quiet", "--insecure-policy"]
            self.sid.run(*copy, f"oci:{layout}:image", target)

        return self.keep(f"{image}.tar", make)

    def unpacked(self, image: str = "busybox") -> Path:
        """The root filesystem of archive(), as umoci unpacks it."""

        def make(root: Path) -> None:
            layout = root.parent / "layout"
            source = f"docker-archive:{self.archive(image)}"
            copy = ["skopeo", "copy", "--quiet", "--insecure-policy"]
            self.sid.run(*copy, source, f"oci:{layout}:image")
            unpack = ["umoci", "raw", "unpack", "--rootless", "--image", f"{layout}:image"]
            self.sid.run(*unpack, root)

        return self.keep(f"{image}-unpacked", make)

    def squashfs(self, name: str, source: Path, *options: str) -> Path:
        """A file of mksquashfs, kept by a name that says what is in it and by which options."""
        return self.keep(name, lambda path: pack_squashfs(self.sid, source, path, *options))


def pack_squashfs(sid: Sid, source: Path, target: Path, *options: str) -> None:
    """Have mksquashfs pack a directory."""
    sid.run("mksquashfs", source, target, "-noappend", "-no-progress", *options)


def _config_options() -> list[str]:
    """CONFIG as umoci-config(1) is told of it."""
    options = ["--clear=config.env", "--clear=config.cmd"]
    for name in ("Env", "Entrypoint", "Cmd"):
        for value in CONFIG[name]:
            options += [f"--config.{name.lower()}", value]
    options += ["--config.workingdir", CONFIG["WorkingDir"], "--config.user", CONFIG["User"]]
    for label, value in CONFIG["Labels"].items():
        options += ["--config.label", f"{label}={value}"]
    return options
