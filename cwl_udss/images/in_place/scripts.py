# SPDX-License-Identifier: Apache-2.0
"""The environment that shell scripts in an image make: Apptainer's, of a definition file.

They are run once, in a sandbox with nothing of the caller's, as `apptainer exec --cleanenv` runs
them each time (apptainer's internal/pkg/runtime/engine/singularity, "action scripts").
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection

from cwl_udss.errors import ImageError
from cwl_udss.images.manifests.command import DEFAULT_PATH
from cwl_udss.sandbox import Ending, RootFilesystem, Runtime, Sandbox, Streams

_logger = logging.getLogger(__name__)

SCRIPTS = ".singularity.d/env"
_SECONDS = 60.0
# A shell's own variables, and those with which Apptainer speaks to scripts.
_LEFT_OUT = ("PWD", "OLDPWD", "SHLVL", "_")
_LEFT_OUT_PREFIXES = ("SINGULARITY_", "APPTAINER_")
# A shell may end at a script that is none; Apptainer's goes on. What it makes of values of Docker's
# (10-docker2singularity.sh) is such a one if there is a backquote in them.
_COMMAND = f"""
for script in /{SCRIPTS}/*.sh; do
    if [ -r "$script" ] && sh -n "$script"; then . "$script"; fi
done
exec cat /proc/self/environ
"""


def scripted_environment(
    name: str,
    root: RootFilesystem,
    environment: Collection[str],
    runtime: Callable[[], Runtime],
) -> tuple[str, ...]:
    """Return what the scripts of a root filesystem export, entries `NAME=value`, and what is in the
    image's `environment` already: the scripts add to that. `name` is for messages. Raises
    ImageError if they fail."""
    pairs = (entry.partition("=") for entry in environment)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as messages:
        sandbox = Sandbox(
            root=root,
            command=("/bin/sh", "-c", _COMMAND),
            environment={"PATH": DEFAULT_PATH, **{key: value for key, _, value in pairs}},
            working_directory="/",
        )
        streams = Streams(stdout=output.fileno(), stderr=messages.fileno())
        result = runtime().start(sandbox, streams).wait(_SECONDS)
        if result.ending is Ending.NOT_STARTED:  # it has no shell, and so no use for them
            return tuple(environment)
        output.seek(0)
        messages.seek(0)
        said = messages.read().decode("utf-8", "replace").strip().splitlines()
        if result.ending is not Ending.EXITED or result.exit_code != 0:
            raise ImageError(
                f"the scripts that set the environment of {name} (/{SCRIPTS}) fail: "
                f"{said[-1] if said else f'exit code {result.exit_code}'}",
                "have the image mended",
            )
        for line in said:
            _logger.warning("the scripts that set the environment of %s: %s", name, line)
        entries = output.read().decode("utf-8", "surrogateescape").split("\0")
    return tuple(entry for entry in entries if "=" in entry and not _is_left_out(entry))


def _is_left_out(entry: str) -> bool:
    name = entry.partition("=")[0]
    return name in _LEFT_OUT or name.startswith(_LEFT_OUT_PREFIXES)
