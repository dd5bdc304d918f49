# SPDX-License-Identifier: Apache-2.0
"""The commands qsub, qstat, qdel, qselect and pbsnodes: they send their arguments to the stand-in's
server and do as it says. What they import is built into Python, so that they start at once."""

from __future__ import annotations

import _socket
import marshal
import os
import sys

# Not typing's own name, which would have it imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET = "socket"


def connect(directory: str) -> _socket.socket:
    """Connect to the server in a directory, however long its path is (see unix(7), sun_path)."""
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.connect(f"/proc/self/fd/{place}/{SOCKET}")
    finally:
        os.close(place)
    return connection


def send(connection: _socket.socket, message: Any) -> None:
    """Send a message: its length in four bytes, and its content."""
    content = marshal.dumps(message)
    connection.sendall(len(content).to_bytes(4, "little") + content)


def receive(connection: _socket.socket) -> Any:
    """Receive a message. Raises EOFError."""
    return marshal.loads(_read(connection, int.from_bytes(_read(connection, 4), "little")))


def _read(connection: _socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise EOFError
        content += part
    return content


def _content(path: bytes) -> Any:
    """What is in a script or, for an empty path, comes from the standard input; or an errno."""
    try:
        with open(path or 0, "rb") as file:
            return file.read()
    except OSError as error:
        return error.errno


def _stay_behind(connection: _socket.socket) -> None:
    """Be the process that the first qsub leaves behind to keep its connection: it closes the three
    standard files and inherits all others."""
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 3)
        connection.recv(1)
        os._exit(0)


def _main() -> None:
    home, name = os.path.split(os.path.abspath(sys.argv[0]))
    try:
        connection = connect(os.path.dirname(home))
    except OSError as error:
        os.write(2, f"{error.strerror}\n".encode())
        os._exit(255)
    arguments = [os.fsencode(argument) for argument in sys.argv[1:]]
    send(connection, (name, arguments, dict(os.environb), os.getcwdb()))
    while True:
        try:
            action, *values = receive(connection)
        except EOFError:
            os.write(2, b"Communication failure.\n")
            os._exit(255)
        if action == "write":
            stream, content = values
            while content:
                content = content[os.write(stream, content) :]
        elif action == "read":
            send(connection, _content(*values))
        else:
            if action == "stay":
                _stay_behind(connection)
            os._exit(*values)


if __name__ == "__main__":
    _main()
