# SPDX-License-Identifier: Apache-2.0
"""What tests of the commands `apptainer` and `singularity` are typed in."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Door = Callable[..., "subprocess.CompletedProcess[str]"]
BUSYBOX = "docker://docker.io/library/busybox:1.36"
