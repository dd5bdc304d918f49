# SPDX-License-Identifier: Apache-2.0
"""A real Slurm on loopback, run by an ordinary user; its nodes are namespaces of this machine."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from needs import need

_PROGRAMS = {
    "/usr/sbin/munged": "munge",
    "/usr/sbin/slurmctld": "slurmctld",
    "/usr/sbin/slurmd": "slurmd",
    "/usr/bin/sbatch": "slurm-client",
}
_PATIENCE = 60.0
# A socket's path has at most 107 bytes (unix(7)), and slurmd makes one for each step of a job.
_LONGEST_DIRECTORY = 107 - len("/node1/node1_100000.4294967291")

# See slurm.conf(5).
_SETTINGS = {
    "ClusterName": "tests",
    "ProctrackType": "proctrack/linuxproc",
    "TaskPlugin": "task/none",
    "MpiDefault": "none",
    "MailProg": "/bin/true",
    "SelectType": "select/cons_tres",
    "SelectTypeParameters": "CR_Core_Memory",
    "GresTypes": "gpu",
    # Nodes may have more than the machine.
    "SlurmdParameters": "config_overrides",
    "EnforcePartLimits": "ALL",
    "ReturnToService": "2",
    "JobAcctGatherType": "jobacct_gather/linux",
    "JobAcctGatherParams": "OverMemoryKill",
    "JobAcctGatherFrequency": "task=1",
    "KillWait": "1",
    "MinJobAge": "60",
    "MessageTimeout": "5",
    "SlurmdTimeout": "10",
    # With one, the controller fills the place of an ended job at once, else in the next second.
    "Epilog": "/bin/true",
    # The defaults let a job that is submitted soon after another one wait for seconds.
    "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,bf_interval=1",
}


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A running Slurm, and how to disturb it."""

    directory: Path
    nodes: tuple[str, ...]
    """Their names, which are their host names too."""
    passwd: Path = Path("/etc/passwd")
    """What nodes have for a password database."""
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs in its environment to find this Slurm."""
        return {"SLURM_CONF": str(self.directory / "slurm.conf")}

    @property
    def scratch(self) -> Path:
        """The scratch directory and TMPDIR of jobs: the same path on all nodes, but not shared."""
        return self.directory / "scratch"

    def scratch_of(self, node: str) -> Path:
        """Where a node's scratch directory can be seen from outside."""
        return self.directory / node / "scratch"

    def log(self, name: str = "slurmctld") -> str:
        """Return what the controller, a node or "munged" has said."""
        return (self.directory / name / "log").read_text(errors="replace")

    def run(self, *command: str | Path) -> str:
        """Run one of Slurm's commands; return what it prints, also if it fails."""
        return subprocess.run(
            command,
            env={**os.environ, **self.environment},
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        ).stdout

    def start_controller(self) -> None:
        """Start the controller, and wait until it answers."""
        self.start_daemon("slurmctld", "/usr/sbin/slurmctld", "-D")
        self.wait_until(lambda: " UP" in self.run("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """End the controller. It saves its state; jobs go on, but commands cannot reach it."""
        daemon = self._daemons.pop("slurmctld")
        daemon.terminate()
        daemon.wait(_PATIENCE)

    @contextlib.contextmanager
    def paused_controller(self) -> Iterator[None]:
        """Let commands wait for the controller, and after MessageTimeout give up.

        Afterwards it does what they have asked for all the same.
        """
        self._daemons["slurmctld"].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._daemons["slurmctld"].send_signal(signal.SIGCONT)

    def start_node(self, name: str) -> None:
        """Start a node; see wait_for_nodes."""
        # As root of a namespace the name and mounts are made, in another one the user is himself.
        # Root has no need of these, and slurmd would try in vain to change its groups there.
        root = os.getuid() == 0
        user = f"unshare --user --map-user={os.getuid()} --map-group={os.getgid()} --"
        # The shell stays as the first process, which takes care of orphans; slurmd does not.
        script = (
            f"hostname {name} && mount --bind {self.scratch_of(name)} {self.scratch} &&"
            f" mount --bind {self.passwd} /etc/passwd &&"
            f" {'' if root else user} /usr/sbin/slurmd -D -N {name}; exit $?"
        )
        namespaces = ["--mount", "--pid", "--uts", "--mount-proc", "--kill-child"]
        if not root:
            namespaces += ["--user", "--map-root-user"]
        self.start_daemon(name, "unshare", *namespaces, "--", "sh", "-c", script)

    def kill_node(self, name: str) -> None:
        """Lose a node: all its processes die at once, those of jobs too.

        The controller takes SlurmdTimeout and twice MessageTimeout to see it, some 20 seconds.
        """
        daemon = self._daemons.pop(name)
        with contextlib.suppress(psutil.NoSuchProcess):
            outer = psutil.Process(daemon.pid)
            # With the first process of a namespace all others die, and it is gone after them.
            for victim in outer.children() or [outer]:
                victim.kill()
        daemon.wait(_PATIENCE)

    def report_down(self, name: str) -> None:
        """Have the controller see at once that a node is down, as it would by itself in time."""
        said = self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=killed")
        assert not said, said

    def wait_for_nodes(self) -> None:
        """Wait until all nodes are up, and nothing runs there."""
        idle = ["idle"] * len(self.nodes)
        states = ("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T")
        self.wait_until(lambda: self.run(*states).split() == idle, *self.nodes)

    def start_daemon(self, name: str, *command: str | Path) -> None:
        """Start a program that ends at the latest with this process, by a name for its log."""
        with (self.directory / name / "log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self.environment},
                cwd=self.directory / name,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until(self, condition: Callable[[], bool], *names: str) -> None:
        """Wait for a condition; if it does not come or a daemon ends, fail with what was said."""
        give_up = time.monotonic() + _PATIENCE
        while not condition():
            ended = [name for name in names if self._daemons[name].poll() is not None]
            if ended or time.monotonic() > give_up:
                raise AssertionError("\n".join(self.log(name) for name in ended or names))
            time.sleep(0.05)

    def end(self) -> None:
        """End everything that runs, jobs too, and wait for it."""
        for name in self.nodes:
            if name in self._daemons:
                self.kill_node(name)
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait()


def need_slurm() -> None:
    """Skip a test that needs one where it cannot be."""
    for program, package in _PROGRAMS.items():
        if not os.access(program, os.X_OK):
            need(f"needs the Debian package {package}")


@contextlib.contextmanager
def serve_slurm(
    directory: Path,
    *,
    nodes: int = 2,
    cpus: int = 2,
    memory: int = 4000,
    settings: Mapping[str, str] | None = None,
    passwd: Path = Path("/etc/passwd"),
) -> Iterator[Slurm]:
    """Run a Slurm in an empty directory. It ends when left, or with the process that called.

    Each node has so many CPUs and megabytes, and two GPUs that are none, whatever the machine has.
    Partitions are "main", "short" (for a minute) and "closed" (for nobody). Settings are those of
    slurm.conf(5), and go before what is set here.
    """
    need_slurm()
    assert len(os.fsencode(directory)) <= _LONGEST_DIRECTORY, f"too long for sockets: {directory}"
    names = tuple(f"node{number}" for number in range(1, nodes + 1))
    slurm = Slurm(directory=directory, nodes=names, passwd=passwd)
    slurm.scratch.mkdir()
    for name in ("munged", "slurmctld", *names):
        (directory / name).mkdir()
    for name in names:
        slurm.scratch_of(name).mkdir()
    _configure(slurm, cpus, memory, settings or {})
    try:
        _start_munge(slurm)
        slurm.start_controller()
        for name in names:
            slurm.start_node(name)
        slurm.wait_for_nodes()
        yield slurm
    finally:
        slurm.end()


def _configure(slurm: Slurm, cpus: int, memory: int, settings: Mapping[str, str]) -> None:
    directory = slurm.directory
    user = pwd.getpwuid(os.getuid()).pw_name
    host = socket.gethostname().partition(".")[0]
    controller, *ports = _free_ports(1 + len(slurm.nodes))
    places = {
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": str(controller),
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthInfo": f"socket={directory}/munged/socket",
        "StateSaveLocation": f"{directory}/slurmctld",
        "SlurmctldPidFile": f"{directory}/slurmctld/pid",
        "SlurmdPidFile": f"{directory}/%n/pid",
        "SlurmdSpoolDir": f"{directory}/%n",
        "TaskProlog": f"{directory}/prolog",
        "DefMemPerCPU": str(memory // cpus),
    }
    merged = {**_SETTINGS, **places, **settings}
    has = f"NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:2"
    lines = [
        *(f"{name}={value}" for name, value in merged.items()),
        *(f"NodeName={n} {has} Port={p}" for n, p in zip(slurm.nodes, ports, strict=True)),
        "PartitionName=main Nodes=ALL Default=YES",
        "PartitionName=short Nodes=ALL MaxTime=1",
        "PartitionName=closed Nodes=ALL AllowAccounts=nobody",
    ]
    (directory / "slurm.conf").write_text("\n".join(lines) + "\n")
    (directory / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    prolog = directory / "prolog"
    prolog.write_text(f"#!/bin/sh\necho export TMPDIR={slurm.scratch}\n")
    prolog.chmod(0o755)


def _start_munge(slurm: Slurm) -> None:
    directory = slurm.directory / "munged"
    key = directory / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    slurm.start_daemon(
        *("munged", "/usr/sbin/munged", "--foreground", "--num-threads=2"),
        # It would not have its files below a directory like /tmp, or one that others cannot enter.
        "--force",
        *(f"--{name}-file={directory / name}" for name in ("key", "pid", "seed")),
        f"--socket={directory}/socket",
    )
    slurm.wait_until((directory / "socket").exists, "munged")


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody has, from below those that Linux gives to clients (ip(7))."""
    free: list[int] = []
    for port in random.sample(range(10_000, 32_768), 1000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            free.append(port)
        if len(free) == count:
            return free
    raise AssertionError("no free ports")
