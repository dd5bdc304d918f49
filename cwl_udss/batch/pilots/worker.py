# SPDX-License-Identifier: Apache-2.0
"""Becomes Parsl's worker pool on a node of an allocation, if that has what a step gets.

Run as a program, `python -m cwl_udss.batch.pilots.worker CORES MOST ARGUMENT...`: with so many
cores for each step, at most so many steps at once, and arguments of the pool.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

from cwl_udss.machine.resources import available_resources

_POOL = "parsl.executors.high_throughput.process_worker_pool"

_OWN_TMPDIR = "CWL_UDSS_PILOT_TMPDIR"
"""Keeps the node's TMPDIR for the steps, where the pool has another."""
# The pool's processes talk by a socket in there, whose name must fit into an address (unix(7)):
# multiprocessing's util.get_temp_dir() and connection.arbitrary_address().
_LONGEST_TMPDIR = 107 - len("/pymp-12345678/listener-12345678")


def main() -> None:
    """Be the program. What it says goes to the allocation's log, and from there to the person."""
    cores, most = map(int, sys.argv[1:3])
    has = available_resources(os.environ).cores
    workers = min(most, has // cores)
    if workers == 0:
        # The pool would start no worker, and nobody would know.
        node = socket.gethostname()
        sys.exit(f"a step gets {cores} cores (--udss-pilot-cores), {node} has {has}")
    os.environ["PARSL_CORES"] = str(has)  # it counts those of the machine
    sizes = (f"--max_workers_per_node={workers}", f"--cores_per_worker={cores}")
    command = [sys.executable, "-m", _POOL, *sizes, *sys.argv[3:]]
    # The job's process is the pool's.
    os.execve(command[0], command, pool_environment(os.environ))  # noqa: S606


def pool_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the pool is started with: a TMPDIR that is not too long for it."""
    own = environment.get("TMPDIR", "")
    if len(os.fsencode(own)) <= _LONGEST_TMPDIR:
        return dict(environment)
    return {**environment, "TMPDIR": "/tmp", _OWN_TMPDIR: own}  # noqa: S108 - there is always one


def step_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a step is run with: the environment that the pool's has been made of."""
    own = environment.get(_OWN_TMPDIR)
    if own is None:
        return dict(environment)
    rest = {name: value for name, value in environment.items() if name != _OWN_TMPDIR}
    return {**rest, "TMPDIR": own}


if __name__ == "__main__":
    main()
