# SPDX-License-Identifier: Apache-2.0
"""What passes steps on to a pilot's workers: Parsl's HighThroughputExecutor.

By itself, without Parsl's DataFlowKernel, whose end waits for ever for an interchange that has
died, and without its providers (see allocations.py).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from concurrent import futures
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

from cwl_udss.batch.pilots.capacity import Capacity
from cwl_udss.batch.pilots.worker import step_environment
from cwl_udss.batch.run_directory import Entry, last_line
from cwl_udss.batch.systems.system import BatchError
from cwl_udss.machine.waiting import told
from cwl_udss.steps.runner import run_once

_HEARTBEAT_SECONDS = 5
_ANSWER_SECONDS = 30
_LOOK_SECONDS = 0.1
_END_SECONDS = 0.5


def run_in_worker(directory: str) -> None:
    """Run a step in a worker of Parsl's."""
    run_once(Path(directory), step_environment(os.environ))


class Pool:
    """Parsl's executor: passes steps on to whichever workers call."""

    def __init__(self, directory: Path, capacity: Capacity) -> None:
        """Its files go into a directory. Raises ImportError if Parsl is not there."""
        from parsl.curvezmq import create_certificates  # noqa: PLC0415 - slow to import
        from parsl.executors import HighThroughputExecutor  # noqa: PLC0415 - as above

        logging.getLogger("parsl").setLevel(logging.CRITICAL)  # what fails is told by us
        self._directory = directory
        self._log = directory / "interchange.log"
        self._capacity = capacity
        executor: Any = HighThroughputExecutor(
            label="workers",
            heartbeat_period=_HEARTBEAT_SECONDS,
            heartbeat_threshold=6 * _HEARTBEAT_SECONDS,
            # Others on the cluster's network could send pickles: reading one runs what is in it.
            encrypted=True,
            interchange_launch_cmd=[
                *(sys.executable, "-m", "cwl_udss.batch.pilots.interchange"),
                *(str(os.getpid()), str(self._log)),
            ],
        )
        executor.run_dir = str(directory)
        executor.run_id = directory.name
        # pyzmq takes the path for a pattern: for the interchange, on this machine, a plain one
        # (proc_pid_fd(5)).
        self._certificates = create_certificates(directory)
        self._opened = os.open(self._certificates, os.O_RDONLY | os.O_DIRECTORY)
        executor.cert_dir = f"/proc/{os.getpid()}/fd/{self._opened}"
        self._executor = executor

    def start(self) -> None:
        """Start the interchange. Raises BatchError if it does not start."""
        done: Future[None] = Future()

        def start() -> None:
            try:
                self._executor.start()
                done.set_result(None)
            except Exception as error:  # noqa: BLE001 - raised by whoever waits
                done.set_exception(error)

        # Parsl waits for two minutes, also for one that has died.
        threading.Thread(target=start, name="interchange", daemon=True).start()
        with told("for Parsl's interchange to start"):
            while not futures.wait((done,), _LOOK_SECONDS).done:
                self.check()
        if done.exception() is not None:
            raise BatchError(f"Parsl does not start: {done.exception()}", f"see {self._log}")

    def check(self) -> None:
        """Raise BatchError if steps cannot be passed on any more."""
        process = self._executor.interchange_proc
        failure = self._executor.executor_exception
        if failure is not None:  # workers of another release of Python or Parsl have called
            raise BatchError(
                f"the pilot has failed: {failure}",
                "nodes need the same Python and Parsl as this machine",
            )
        if process is not None and process.poll() is not None:
            raise BatchError(
                f"Parsl's interchange has ended: {last_line(self._log)}", f"see {self._log}"
            )

    def connected(self) -> set[str]:
        """Return the allocations whose workers have called, ever. Raises BatchError."""
        try:
            answer = self._executor.command_client.run(
                "CONNECTED_BLOCKS", timeout_s=_ANSWER_SECONDS
            )
        except Exception as error:
            self.check()
            raise BatchError(
                f"Parsl's interchange does not answer: {error}", f"see {self._log}"
            ) from error
        return set(answer)

    def submit(self, entry: Entry) -> Future[None]:
        """Have a worker run a step. Raises BatchError."""
        try:
            done = self._executor.submit(run_in_worker, {}, str(entry.path))
        except Exception:
            self.check()
            raise
        return cast("Future[None]", done)

    def outstanding(self) -> int:
        """Return how many steps have not ended."""
        return int(self._executor.outstanding())

    def worker_command(self, allocation: str) -> list[str]:
        """Return the command that starts workers on a node. Parsl's own template has paths in it
        that are not quoted."""
        executor = self._executor
        return [
            *(sys.executable, "-m", "cwl_udss.batch.pilots.worker"),
            *(str(self._capacity.step_cores), str(self._capacity.steps_per_node)),
            f"--addresses={','.join(sorted(executor.all_addresses))}",
            *(f"--port={executor.worker_port}", f"--cert_dir={self._certificates}"),
            *(f"--logdir={self._directory}", f"--block_id={allocation}"),
            f"--hb_period={executor.heartbeat_period}",
            f"--hb_threshold={executor.heartbeat_threshold}",
            *("--mem_per_worker=None", "--drain_period=None", "--cpu-affinity=none"),
            "--mpi-launcher=mpiexec",
        ]

    def end(self) -> None:
        """End the interchange."""
        process = self._executor.interchange_proc
        # It waits for its sockets, which may wait for an interchange that is gone.
        ending = threading.Thread(
            target=self._executor.shutdown, args=(_END_SECONDS,), name="shutdown", daemon=True
        )
        ending.start()
        ending.join(2 * _END_SECONDS)
        if process is not None:
            process.kill()
            process.wait()
        os.close(self._opened)
