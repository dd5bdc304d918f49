# SPDX-License-Identifier: Apache-2.0
"""What came of trying a program on this node, kept there: the next command need not try again.

It holds for this host since it was booted, this user, this version of cwl-udss, and for whoever is
confined as this process is: what one may do in a container, or under a filter of system calls, says
nothing of what another may. It is in a directory of this node; a shared home would have one
machine's answers read by all. Nothing is lost with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cwl_udss
from cwl_udss.errors import SandboxError, StoreError
from cwl_udss.files.checksums import name_of
from cwl_udss.files.scratch import node_directory
from cwl_udss.runtimes.probing.attempts import Facts
from cwl_udss.runtimes.probing.refusals import is_within_landlock

REFUSAL_SECONDS = 600.0
"""How long a failure counts: an administrator may have changed something meanwhile."""
_OLD_SECONDS = 30 * 86400.0
_PROC = Path("/proc")
# What may let a runtime work, or keep it from it.
_CIRCUMSTANCES = (
    *("sys/kernel/random/boot_id", "sys/kernel/unprivileged_userns_clone"),
    *("sys/kernel/apparmor_restrict_unprivileged_userns", "sys/kernel/yama/ptrace_scope"),
    *("sys/user/max_user_namespaces", "self/attr/current", "self/uid_map"),
)
_NAMESPACES = ("cgroup", "mnt", "net", "pid", "user")
_CONFINEMENT = ("NoNewPrivs", "Seccomp", "Seccomp_filters", "CapEff", "CapBnd", "Groups")


@dataclass
class Memory:
    """What is remembered of programs."""

    scratch: Path | None
    """A directory of this node; None looks for one."""
    environment: Mapping[str, str]
    was_asked: bool = False
    """Whether it has answered in this process, which may be wrong."""
    _answers: dict[str, Facts] | None = field(default=None, repr=False)

    def recall(self, program: str, attempt: Callable[[], Facts], what: str = "") -> Facts:
        """Return what trying gave, or gives now (see Remember)."""
        try:
            name = f"{what} {identity(program)}".lstrip()
        except OSError:  # trying says why
            return attempt()
        answers = self._read()
        if name in answers and _is_fresh(answers[name]):
            self.was_asked = True
            return _answer(answers[name])
        try:
            answers[name] = {"facts": attempt()}
        except SandboxError as error:
            answers[name] = {"refusal": [error.problem, error.advice], "time": time.time()}
            raise
        finally:
            self._write(answers)
        return _answer(answers[name])

    def forget(self) -> bool:
        """Have all tried again. Returns whether anything had been remembered."""
        was_asked, self.was_asked, self._answers = self.was_asked, False, {}
        with contextlib.suppress(OSError, StoreError):
            self._path().unlink(missing_ok=True)
        return was_asked

    def _path(self) -> Path:
        name = name_of(circumstances())[:16]
        return node_directory(self.scratch, self.environment) / "tried" / f"{name}.json"

    def _read(self) -> dict[str, Facts]:
        if self._answers is None:
            self._answers = {}
            with contextlib.suppress(OSError, StoreError, ValueError):
                found = json.loads(self._path().read_bytes())
                if isinstance(found, dict) and all(isinstance(a, dict) for a in found.values()):
                    self._answers = found
        return self._answers

    def _write(self, answers: Mapping[str, Facts]) -> None:
        with contextlib.suppress(OSError, StoreError):  # it is only tried again, then
            path = self._path()
            path.parent.mkdir(mode=0o700, exist_ok=True)
            for old in path.parent.iterdir():
                if time.time() - old.stat().st_mtime > _OLD_SECONDS:
                    old.unlink(missing_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
                json.dump(answers, stream)
            os.replace(stream.name, path)


def identity(program: str) -> str:
    """Return what tells a program from others, and from what it was before. Raises OSError."""
    status = os.stat(program)
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return " ".join((os.path.realpath(program), *map(str, facts)))


def circumstances() -> str:
    """Return all that an answer depends on, but for the program."""
    confinement = [
        line for line in _content("self/status").splitlines() if line.startswith(_CONFINEMENT)
    ]
    namespaces = [_link(f"self/ns/{name}") for name in _NAMESPACES]
    machine = os.uname()
    return "\n".join(
        (
            *(_version(), machine.nodename, machine.release, str(os.getuid())),
            *map(_content, _CIRCUMSTANCES),
            *confinement,
            *namespaces,
            str(is_within_landlock()),
        )
    )


def _version() -> str:
    """Of what tries: a source that is worked on has one version for a long time."""
    probes = Path(__file__).parent.parent.glob("*/probe.py")
    return f"{cwl_udss.__version__} {max(path.stat().st_mtime_ns for path in probes)}"


def _content(name: str) -> str:
    try:
        return (_PROC / name).read_text(errors="replace")
    except OSError as error:
        return str(error.errno)


def _link(name: str) -> str:
    try:
        return os.readlink(_PROC / name)
    except OSError as error:
        return str(error.errno)


def _is_fresh(answer: Facts) -> bool:
    return "facts" in answer or 0 <= time.time() - answer["time"] < REFUSAL_SECONDS


def _answer(answer: Facts) -> Facts:
    if "refusal" in answer:
        raise SandboxError(*answer["refusal"])
    facts: Facts = answer["facts"]
    return facts
