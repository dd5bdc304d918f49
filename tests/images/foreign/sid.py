# SPDX-License-Identifier: Apache-2.0
"""Programs of Debian sid, newer than this machine has them or not in its Debian at all.

They are run by the user who runs the tests, who needs not be root: in a sandbox that has sid's
files and this machine's temporary directories, at their own paths.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from debian_packages import extract_packages
from filelock import FileLock
from needs import SCRATCH
from stand_ins import cache_directory

RELEASE = "sid"
PACKAGES = (
    *("apptainer", "charliecloud", "oras", "siftool", "skopeo", "squashfs-tools", "umoci"),
    *("squashfs-tools-ng", "e2fsprogs"),
    # What Apptainer does without root is done by these.
    *("fakeroot", "fuse-overlayfs", "fuse2fs", "gocryptfs", "squashfuse"),
    # What there is on every Debian machine, and packages do not say that they need it.
    *("base-files", "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip"),
    *("hostname", "libc-bin", "login", "mount", "passwd", "perl-base", "sed", "tar", "util-linux"),
)
# What the packages' scripts would make, and ldconfig. fakeroot is a link of update-alternatives;
# Apptainer shows its containers the host's /etc/localtime and /etc/hosts, and fails where there are
# none. Over the empty files this machine's are shown: programs want to know who they are.
FILES = {
    "etc/passwd": "",
    "etc/group": "",
    "etc/ld.so.cache": "",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/localtime": "",
    "etc/nsswitch.conf": "hosts: files\n",
}
LINKS = {"usr/bin/fakeroot": "fakeroot-tcp", "usr/bin/faked": "faked-tcp"}
HOME = "/home/user"
PATH = "/usr/sbin:/usr/bin"


@dataclass(frozen=True)
class Sid:
    """Runs programs of Debian sid."""

    root: Path
    """Its files: what its packages have."""
    bwrap: str
    shared: tuple[Path, ...]
    """Directories of this machine that the programs may read and write, at the same paths."""

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, in an environment that is empty but for `env`, PATH, TMPDIR and
        HOME, an empty directory. It has this machine's network.

        Raises AssertionError with what the program said if it fails and `check` is true.
        """
        with open(stdin or os.devnull, "rb") as read:
            done = subprocess.run(
                [*self._enter(), "--clearenv", "--chdir", cwd or HOME, *_variables(env), *command],
                stdin=read,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                check=False,
            )
        said = f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, said
        return done

    def write_script(self, path: Path, program: str) -> None:
        """Write a script that runs a program, in the environment and the working directory of its
        caller: for those who look for it in their PATH."""
        enter = shlex.join(map(str, [*self._enter(), "--setenv", "PATH", PATH, program]))
        path.write_text(f'#!/bin/sh\nexec {enter} "$@"\n')
        path.chmod(0o755)

    def _enter(self) -> list[str | Path]:
        # By pivot_root(2), as bwrap does it: Apptainer refuses to work in a chroot. The root is one
        # mount: of one for /usr alone Apptainer would not find its own files (proc(5): the path of
        # /proc/self/exe begins at its mount in another mount namespace).
        shown: list[str | Path] = ["--bind", self.root, "/"]
        for directory in ("/tmp", "/run", "/var/tmp", HOME):
            shown += ["--tmpfs", directory]
        for name in ("/etc/passwd", "/etc/group"):
            shown += ["--ro-bind", name, name]
        # This machine's, not new ones: what Apptainer makes of them it makes by itself.
        shown += ["--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc"]
        shown += ["--ro-bind", "/sys", "/sys"]
        for shared in self.shared:
            shown += ["--bind", shared, shared]
        # Where they are mounted has been made by now, so that nothing else need be written.
        return [self.bwrap, *shown, "--remount-ro", "/", "--die-with-parent"]


def _variables(env: Mapping[str, str] | None) -> list[str]:
    every = {"HOME": HOME, "PATH": PATH, "TMPDIR": tempfile.gettempdir()}
    return [word for item in {**every, **(env or {})}.items() for word in ("--setenv", *item)]


def debian_sid(bwrap: str, *shared: Path) -> Sid:
    """Return Debian sid, made if need be. `shared` are directories for its programs to see beside
    the temporary ones and the tests' cache.

    Raises MissingPackage.
    """
    cache = cache_directory()
    root = cache / f"sid-{_recipe()}"
    with FileLock(cache / "sid.lock"):
        if not root.exists():
            making = cache / "making-sid"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            _make(making / "root", making / "sid.tar")
            (making / "root").rename(root)
            shutil.rmtree(making)
    return Sid(root, bwrap, (Path(tempfile.gettempdir()), SCRATCH, cache, *shared))


def _recipe() -> str:
    made_of = repr((RELEASE, PACKAGES, FILES, LINKS))
    return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def _make(root: Path, tar: Path) -> None:
    extract_packages(tar, RELEASE, PACKAGES)
    root.mkdir()
    extract = ["tar", "--extract", "--no-same-owner", "--exclude=./dev/*", "--file", tar]
    subprocess.run([*extract, "--directory", root], check=True)
    for name, content in FILES.items():
        (root / name).write_text(content)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
