# SPDX-License-Identifier: Apache-2.0
"""Where the installed commands are, and what runs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

COMMANDS = Path(sys.executable).parent
Command = Callable[..., "subprocess.CompletedProcess[str]"]
