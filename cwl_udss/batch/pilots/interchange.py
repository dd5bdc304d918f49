# SPDX-License-Identifier: Apache-2.0
"""Parsl's interchange, which passes tasks on to workers, as one that ends with its driver.

Run as a program, `python -m cwl_udss.batch.pilots.interchange PROCESS LOG`, by the driver of this
id. By itself Parsl's goes on when the driver was killed, and the workers and their allocations with
it.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

_INTERCHANGE = "parsl.executors.high_throughput.interchange"
_LOOK_SECONDS = 1.0


def main() -> None:
    """Be the program. The configuration comes by standard input, from Parsl."""
    driver, log = int(sys.argv[1]), sys.argv[2]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's are for the driver, which ends us
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    runpy.run_module(_INTERCHANGE, run_name="__main__")


def _end_with(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
