# SPDX-License-Identifier: Apache-2.0
"""Who runs a step: one job, however often a batch system starts it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.files.scratch import batch_job
from cwl_udss.steps.spec import STARTED, Started, to_json


def begin(directory: Path, environment: Mapping[str, str]) -> Started | None:
    """Note who runs the step. A batch system may run a job twice; the step is run once."""
    started = Started(
        node=socket.gethostname(),
        process=os.getpid(),
        job=batch_job(environment),
        time=time.time(),
    )
    # Whole when it appears, and only one can appear: link(2) never replaces.
    made = directory / f"{STARTED}.{started.node}.{started.process}"
    made.write_bytes(to_json(started))
    try:
        os.link(made, directory / STARTED)
    except FileExistsError:
        return None
    except OSError:  # there are no hard links here
        with contextlib.suppress(FileExistsError), open(directory / STARTED, "xb") as stream:
            stream.write(to_json(started))
            return started
        return None
    finally:
        made.unlink()
    return started
