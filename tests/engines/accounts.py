# SPDX-License-Identifier: Apache-2.0
"""A user's account as it is on the first day: what the tests of other programs run in.

Nextflow calls `apptainer` with nothing but PATH in its environment. Where its user is at home is
then said by the password database alone, so that is what has to be another one.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user with an empty home directory, who has put the commands of ours first in PATH."""

    home: Path
    passwd: Path
    """The password database that says so."""
    shims: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment after logging in."""
        user = pwd.getpwuid(os.getuid()).pw_name
        return {"HOME": str(self.home), "USER": user, "PATH": self.path(), "LANG": "C.UTF-8"}

    def path(self, *directories: Path) -> str:
        """PATH with more directories, behind that of our commands."""
        return ":".join(map(str, (self.shims, *directories, _PATH)))

    def command(self, *words: str | Path) -> list[str | Path]:
        """The command line that runs a command there: it becomes the command, as exec does."""
        # As root of a namespace the file is put over the other, in another one the user is himself.
        user = f"--map-user={os.getuid()} --map-group={os.getgid()}"
        script = f'mount --bind "$0" /etc/passwd && exec unshare --user {user} -- "$@"'
        namespaces = ("unshare", "--user", "--map-root-user", "--mount")
        return [*namespaces, "--", "sh", "-c", script, self.passwd, *words]

    def run(
        self,
        *words: str | Path,
        cwd: Path,
        variables: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        # Not by pipes: who leaves somebody behind who has them open would be waited for.
        with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                self.command(*words),
                cwd=cwd,
                env={**self.variables, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=said,
                timeout=timeout,
                check=False,
            )
            for file in (printed, said):
                file.seek(0)
            code = done.returncode
            return subprocess.CompletedProcess(words, code, printed.read(), said.read())

    def succeed(
        self,
        *words: str | Path,
        cwd: Path,
        variables: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that has to succeed."""
        done = self.run(*words, cwd=cwd, variables=variables, timeout=timeout)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def left(self) -> list[Path]:
        """What commands that have ended have left in the store, besides what is kept."""
        work = self.home / ".cache" / "cwl-udss" / "work"
        return list(work.iterdir()) if work.exists() else []

    @contextlib.contextmanager
    def started(
        self, *words: str | Path, cwd: Path, variables: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command in a process group of its own. What is left of that is killed."""
        process = subprocess.Popen(
            self.command(*words),
            cwd=cwd,
            env={**self.variables, **(variables or {})},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def make_account(directory: Path, registries: str) -> Account:
    """Make one in an empty directory. `registries` is what its site says of registries."""
    home = directory / "home"
    configuration = home / ".config" / "containers"
    configuration.mkdir(parents=True)
    (configuration / "registries.conf").write_text(registries)
    passwd = directory / "passwd"
    user = pwd.getpwuid(os.getuid())
    passwd.write_text(
        "root:x:0:0:root:/root:/bin/sh\n"
        f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::{home}:/bin/bash\n"
    )
    return Account(home=home, passwd=passwd, shims=home / "engines bin")
