# SPDX-License-Identifier: Apache-2.0
"""Becomes Parsl's worker pool on a node of an allocation, if that has what a step gets.

Run as a program, `python -m cwl_udss.batch.pilots.worker CORES MOST ARGUMENT...`: with so many
cores for each step, at most so many steps at once, and arguments of the pool.
"""

from __future__ import annotations

import os
import socket
import sys

from cwl_udss.machine.resources import available_resources

_POOL = "parsl.executors.high_throughput.process_worker_pool"


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
    os.execv(command[0], command)  # noqa: S606 - the job's process is the pool's


if __name__ == "__main__":
    main()
