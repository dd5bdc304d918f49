# SPDX-License-Identifier: Apache-2.0
"""The outside world for tests that ask for it, where there is none.

The suites' network tests fetch a page of commonwl.org. Without a way there, the command runs in a
network namespace of its own in which that name stands for a server of ours, on loopback.
"""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

HOST = "commonwl.org"
TAG = "networkaccess"
_PATIENCE_SECONDS = 10
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4  # linux/prctl.h


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer as a web server that has the page."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def is_outside_reachable() -> bool:
    """Say whether the host is there that network tests ask for."""
    try:
        return requests.get(f"http://{HOST}", timeout=_PATIENCE_SECONDS).ok
    except requests.RequestException:
        return False


@contextlib.contextmanager
def world_of_our_own(bubblewrap: str) -> Iterator[list[str]]:
    """Give the words to put before a command, for it to find the host on loopback."""
    with tempfile.NamedTemporaryFile("w", suffix=".hosts") as hosts:
        hosts.write(f"127.0.0.1 localhost {HOST}\n")
        hosts.flush()
        yield [
            *(bubblewrap, "--dev-bind", "/", "/", "--unshare-user", "--unshare-net"),
            *("--cap-add", "CAP_NET_BIND_SERVICE", "--ro-bind", hosts.name, "/etc/hosts"),
            *("--die-with-parent", "--", sys.executable, str(Path(__file__).resolve())),
        ]


def serve_and_run(command: Sequence[str]) -> int:
    """Be the host's web server while a command runs. Returns its exit code."""
    server = ThreadingHTTPServer(("127.0.0.1", 80), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The port is bound. bwrap refuses to run with capabilities that it did not expect.
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(serve_and_run(sys.argv[1:]))
