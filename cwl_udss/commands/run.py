# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss run`: one command in an image, in the current directory."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from cwl_udss.files.scratch import temporary_directory
from cwl_udss.images.manifests.command import image_command, image_environment
from cwl_udss.images.request import ImageRequest
from cwl_udss.machine.resources import memory_kills
from cwl_udss.sandbox import (
    SIGNAL_OFFSET,
    TEMPORARY_DIRECTORY,
    Bind,
    Ending,
    Sandbox,
    Streams,
)
from cwl_udss.settings.settings import Settings
from cwl_udss.steps.shared import Steps
from cwl_udss.surroundings.identity import identity_files
from cwl_udss.surroundings.programs import why_not_executed
from cwl_udss.surroundings.signals import signal_words

_EXIT_NOT_FOUND = 127  # as a shell, and `docker run`, report it
_READER_HAS_LEFT = SIGNAL_OFFSET + signal.SIGPIPE  # of which nobody is told: `… | head`


def run_command(
    reference: str,
    command: tuple[str, ...],
    settings: Settings,
    environment: Mapping[str, str],
    home: Path,
) -> int:
    """Run a command in an image, in the current directory. Returns its exit code."""
    directory = str(Path.cwd())
    with (
        Steps(settings, environment, home) as steps,
        temporary_directory(settings.scratch, environment) as temporary,
    ):
        image = steps.image(ImageRequest(image_id=reference))
        root = steps.root(image)
        sandbox = Sandbox(
            root=root,
            command=image_command(image.config, command),
            environment={
                **image_environment(image.config),
                "HOME": directory,
                "TMPDIR": TEMPORARY_DIRECTORY,
            },
            working_directory=directory,
            binds=(
                Bind(source=directory, destination=directory, writable=True),
                Bind(source=str(temporary), destination=TEMPORARY_DIRECTORY, writable=True),
            ),
            files=identity_files(root.here, home=directory, network=False),
        )
        kills = memory_kills()
        result = steps.run(
            reference,
            sandbox,
            Streams(stdin=0, stdout=1, stderr=2, hands_on_terminals=True),
        )
        reason = why_not_executed(sandbox, result)
    name = f"{sandbox.command[0]!r} cannot be executed in {reference}: "
    for words in (reason and name + reason, signal_words(result.exit_code, memory_kills() - kills)):
        if words and result.exit_code != _READER_HAS_LEFT:
            print(f"cwl-udss: {words}", file=sys.stderr)
    return _EXIT_NOT_FOUND if result.ending is Ending.NOT_STARTED else result.exit_code
