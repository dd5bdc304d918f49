# SPDX-License-Identifier: Apache-2.0
"""A real network filesystem with weak coherence: one directory, mounted several times by sshfs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from needs import need

_PROGRAMS = {
    "sshfs": "sshfs",
    "fusermount3": "fuse3",
    "ssh-keygen": "openssh-client",
    "/usr/sbin/sshd": "openssh-server",
}
_SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
Subsystem sftp internal-sftp
"""


@contextlib.contextmanager
def sshfs_mounts(directory: Path, count: int) -> Iterator[list[Path]]:
    """Mount a directory `count` times, by a server of the caller's own on loopback."""
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            need(f"needs the Debian package {package}")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        need("/dev/fuse cannot be used")
    with contextlib.ExitStack() as stack:
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(_server(keys))
        yield [stack.enter_context(_mount(directory, keys, port)) for _ in range(count)]


@contextlib.contextmanager
def _server(keys: Path) -> Iterator[int]:
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (keys / "sshd_config").write_text(_SERVER.format(port=port, directory=keys))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", keys / "sshd_config"], stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def _mount(directory: Path, keys: Path, port: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(
            [
                *("sshfs", f"127.0.0.1:{directory}", name, "-p", str(port)),
                *("-o", f"IdentityFile={keys / 'user'}", "-o", "StrictHostKeyChecking=no"),
                *("-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
                # Debian's sshfs follows absolute links no more by default, other filesystems do.
                *("-o", "no_contain_symlinks"),
            ],
            check=True,
        )
        try:
            yield Path(name)
        finally:
            subprocess.run(["fusermount3", "-u", "-z", name], check=True)
