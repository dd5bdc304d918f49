# SPDX-License-Identifier: Apache-2.0
"""What the containment tests look for on the host: made before them, and looked at after them.

By hand:  python surroundings.py SUITE -- cwltest --test containment_tests.yaml --tool RUNNER
where SUITE is a copy of this directory that may be changed. Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

JOB = "surroundings.json"
UPDATED = "updated/updated.txt"
PRIVATE_TEXT = "nobody's business"
HOST_PROCESS = "containment-host-process"
LEFT_BEHIND = "containment-left-behind-"
KEY = b"containment-key"
CANARY = "CONTAINMENT_CANARY"

# Which test leaves a process of which name behind, where the runner lets it.
_LIFE = {
    "background": "background_processes_end",
    "daemon": "daemons_end",
    "double-fork": "double_forks_end",
    "time-limit": "a_time_limit_ends_all_processes",
}
_ADD_KEY = {"x86_64": 248, "aarch64": 217}
_USER_KEYRING = -4  # KEY_SPEC_USER_KEYRING: keyctl(2)
_IPC_CREAT, _IPC_RMID = 0o1000, 0


@dataclass(frozen=True)
class Surroundings:
    """What there is while the tests run."""

    environment: dict[str, str]
    """With which the runner is to be started."""
    suite: Path
    before: dict[str, tuple[str, int, int]]


@contextlib.contextmanager
def surroundings(suite: Path, environment: Mapping[str, str]) -> Iterator[Surroundings]:
    """Make everything that the tests look for; `suite` is a copy of the suite, to be changed.
    What is yielded has the environment with what must not be seen added."""
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="containment-")))
        shared = stack.enter_context(
            tempfile.NamedTemporaryFile("w", dir="/tmp", prefix="containment-secret-")
        )
        shared.write(PRIVATE_TEXT)
        shared.flush()
        secret = scratch / "secret.txt"
        secret.write_text(PRIVATE_TEXT)
        programs = scratch / "containment-canary"
        programs.mkdir()
        token = secrets.randbits(16)  # containers of one machine may have equal process numbers
        _add_key()
        facts = {
            "home": stack.enter_context(_file_at_home()),
            "secret": str(secret),
            "shared_secret": shared.name,
            "documents": str(suite.resolve()),
            "working_directory": str(Path.cwd()),
            "process": str(stack.enter_context(_process())),
            "shared_memory_key": str(stack.enter_context(_shared_memory(token))),
            "port": str(stack.enter_context(_service())),
            "abstract_socket": stack.enter_context(_abstract_socket(f"containment-{token}")),
            "hostname": socket.gethostname(),
            "uid": str(os.getuid()),
            "gid": str(os.getgid()),
            "file": {"class": "File", "path": "inputs/input.txt"},
            "directory": {"class": "Directory", "path": "inputs/directory"},
            "updated": {"class": "File", "path": UPDATED},
        }
        (suite / JOB).write_text(json.dumps(facts, indent=1) + "\n")
        seen = {
            **environment,
            CANARY: "leaked",
            "PATH": f"{environment.get('PATH', os.defpath)}:{programs}",
        }
        yield Surroundings(seen, suite, _state(suite / "inputs"))


def problems(found: Surroundings) -> dict[str, str]:
    """Return what has changed that must not have: test → what. Ends processes left behind."""
    told = {}
    after = _state(found.suite / "inputs")
    if after != found.before:
        names = sorted(set(after.items()) ^ set(found.before.items()))
        told["input_file_cannot_be_written"] = f"inputs have changed: {names[0][0]}"
    if not (found.suite / UPDATED).read_text().endswith("more\n"):
        told["in_place_update_changes_the_original"] = f"{UPDATED} is as it was"
    for process, words in _processes():
        for word in words:
            if word.startswith(LEFT_BEHIND):
                test = _LIFE.get(word[len(LEFT_BEHIND) :], "background_processes_end")
                told[test] = f"process {process} was left behind"
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
    for left, test in (
        ("/dev/shm/containment-made", "shared_memory_is_the_steps_own"),  # noqa: S108
        ("/tmp/containment-left", "temporary_files_of_another_step_are_not_visible"),  # noqa: S108
        ("/tmp/made", "tmp_is_writable"),  # noqa: S108
    ):
        if os.path.exists(left):
            told[test] = f"{left} was left behind"
            with contextlib.suppress(OSError):
                os.unlink(left)
    written = Path(json.loads((found.suite / JOB).read_text())["secret"] + ".written")
    if written.exists():
        told["expressions_write_no_files"] = f"{written} was written"
    return told


def _state(directory: Path) -> dict[str, tuple[str, int, int]]:
    """Content, mode and time of change of everything below a directory."""
    state = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else repr(sorted(os.listdir(path))).encode()
        digest = hashlib.sha256(content).hexdigest()
        state[str(path.relative_to(directory))] = (digest, status.st_mode, status.st_mtime_ns)
    return state


def _processes() -> Iterator[tuple[int, list[str]]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace")
                yield int(name), words.split("\0")


@contextlib.contextmanager
def _file_at_home() -> Iterator[str]:
    """A file in the caller's home directory, or that, if nothing can be written there."""
    if not os.access(Path.home(), os.W_OK):
        yield str(Path.home())
        return
    with tempfile.NamedTemporaryFile(dir=Path.home(), prefix=".containment-") as made:
        yield made.name


@contextlib.contextmanager
def _process() -> Iterator[int]:
    # With streams of its own and a session: its `sleep` would have others wait for the end of ours.
    process = subprocess.Popen(
        ["sh", "-c", "while :; do sleep 60; done", HOST_PROCESS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _service() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@contextlib.contextmanager
def _abstract_socket(name: str) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        yield name


@contextlib.contextmanager
def _shared_memory(token: int) -> Iterator[int]:
    """A System V segment (shmget(2)). Gives its key."""
    library = ctypes.CDLL(None, use_errno=True)
    key = 0x0C0A0000 + token
    segment = library.shmget(key, 4096, _IPC_CREAT | 0o600)
    try:
        yield key
    finally:
        if segment >= 0:
            library.shmctl(segment, _IPC_RMID, None)


def _add_key() -> None:
    """Put a key into the user's keyring (add_key(2)); it goes with the last process of the user."""
    number = _ADD_KEY.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, b"user", KEY, b"secret", 6, _USER_KEYRING)


def main() -> int:
    """Run a command in the surroundings. The exit code is its own, or 1 for what it left."""
    suite, separator, *command = sys.argv[1:]
    if separator != "--" or not command:
        sys.exit(__doc__)
    program = shutil.which(command[0])
    if program is None:
        sys.exit(f"there is no {command[0]}")
    with surroundings(Path(suite), os.environ) as found:
        code = subprocess.run(
            [program, *command[1:]], cwd=suite, env=found.environment, check=False
        ).returncode
        told = problems(found)
    for test, problem in told.items():
        print(f"failed: {test}: {problem}")
    return code or bool(told)


if __name__ == "__main__":
    sys.exit(main())
