# SPDX-License-Identifier: Apache-2.0
"""Holds a SquashFS image mounted for as long as anybody of this node uses it.

Run as a program, `python -m cwl_udss.images.node.mount_holder JSON`. The mount is in a user and
mount namespace of its own, so that neither root nor a setuid helper is needed and the kernel
unmounts it when its last process ends, whatever that dies of. Who uses it holds a connection to a
socket: the kernel closes that, too, when its holder dies. With the last one gone this program ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOUNT_SECONDS = 20.0
# How long a mount outlives its last user, who may be about to start another step.
IDLE_SECONDS = 2.0
INFORMATION = "INFORMATION"
"""Stands in the command for the number of a descriptor to which it writes whom it has started, as
bwrap(1) has it with --info-fd."""
_LARGEST_MESSAGE = 4096


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for a socket that fits into its address (108 bytes: unix(7)), whatever the path."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def connect(path: Path) -> tuple[socket.socket, dict[str, Any]] | None:
    """Connect to the holder at a socket; return the connection, to be kept open while the mount is
    used, and what it said: {"process": …} or {"error": …}. None if there is no holder."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(2 * MOUNT_SECONDS)
        with short_path(path) as name:
            connection.connect(name)
        answer = connection.recv(_LARGEST_MESSAGE)
        if answer:
            return connection, json.loads(answer)
    except OSError:  # nobody there, or just leaving
        pass
    connection.close()
    return None


def main() -> None:
    """Mount what the first argument says, and hold it: {"command": …, "mount": …, "socket": …}.

    Returns at once in the process that was started; another one holds.
    """
    request = json.loads(sys.argv[1])
    listener = _listen(Path(request["socket"]))
    if os.fork():
        os._exit(0)  # whoever started us can connect now
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        # For the run; its end is ours. The session stays: PBS ends jobs by that.
        signal.signal(number, signal.SIG_IGN)
    os.setpgid(0, 0)
    _hold(listener, request["command"], Path(request["mount"]))


def _listen(path: Path) -> socket.socket:
    """A socket at `path`, in place of what a dead holder left there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with short_path(temporary) as name:
        listener.bind(name)
    listener.listen(128)
    temporary.rename(path)
    return listener


def _hold(listener: socket.socket, command: list[str], mount: Path) -> None:
    read_information, write_information = os.pipe()
    with tempfile.TemporaryFile() as messages:
        mounter = subprocess.Popen(
            [word.replace(INFORMATION, str(write_information)) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            pass_fds=[write_information],
        )
        os.close(write_information)
        try:
            information = _read_object(read_information)
            process = json.loads(information)["child-pid"] if information.strip() else None
            if process is not None and _is_mounted(mounter, f"/proc/{process}/root", mount):
                answer = {"process": process}
            else:
                messages.seek(0)
                answer = {"error": _last_line(messages.read())}
            _serve(listener, mounter, json.dumps(answer).encode())
        finally:
            mounter.kill()
            mounter.wait()


def _read_object(descriptor: int) -> bytes:
    """What is written until there is a JSON object; who hangs never comes to its end."""
    give_up = time.monotonic() + MOUNT_SECONDS
    said = b""
    with open(descriptor, "rb", buffering=0) as stream, selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(max(0.0, give_up - time.monotonic())):
            part = stream.read(_LARGEST_MESSAGE)
            if not part:
                break
            said += part
            if said.rstrip().endswith(b"}"):
                break
    return said


def _is_mounted(mounter: subprocess.Popen[bytes], inside: str, mount: Path) -> bool:
    """Wait until it is mounted: neither squashfuse nor the kernel tells when."""
    give_up = time.monotonic() + MOUNT_SECONDS
    while time.monotonic() < give_up and mounter.poll() is None:
        with contextlib.suppress(OSError):
            if os.stat(f"{inside}{mount}").st_dev != os.stat(f"{inside}{mount.parent}").st_dev:
                return True
        time.sleep(0.002)
    return False


def _last_line(messages: bytes) -> str:
    lines = messages.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"nothing was mounted in {MOUNT_SECONDS:.0f} s"


def _serve(listener: socket.socket, mounter: subprocess.Popen[bytes], answer: bytes) -> None:
    """Answer everybody who connects, until the last has gone or the mount has."""
    users: set[socket.socket] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        idle_since = time.monotonic()
        # Who could not be helped is told why, once.
        while users or (mounter.poll() is None and time.monotonic() - idle_since < IDLE_SECONDS):
            for key, _ in selector.select(timeout=IDLE_SECONDS / 4):
                if key.fileobj is listener:
                    user, _ = listener.accept()
                    with contextlib.suppress(OSError):
                        user.sendall(answer)
                    users.add(user)
                    selector.register(user, selectors.EVENT_READ)
                else:
                    gone = next(user for user in users if user is key.fileobj)
                    selector.unregister(gone)
                    users.discard(gone)
                    gone.close()
                    idle_since = time.monotonic()
    # Who has connected but was not answered sees the end of the connection, and starts another.
    listener.close()


if __name__ == "__main__":
    main()
