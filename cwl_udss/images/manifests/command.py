# SPDX-License-Identifier: Apache-2.0
"""What an image's configuration makes of a command."""

from __future__ import annotations

from cwl_udss.errors import SandboxError
from cwl_udss.images.manifests.manifest import ImageConfig

# Docker's, for images that set none.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def image_environment(config: ImageConfig) -> dict[str, str]:
    """Return the variables that an image sets."""
    pairs = (entry.partition("=") for entry in config.environment)
    return {"PATH": DEFAULT_PATH, **{name: value for name, _, value in pairs}}


def image_command(config: ImageConfig, command: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is executed for a command: as `docker run`, after the entry point, and if there
    is none the image's own. Raises SandboxError if that has none either."""
    full = (*config.entrypoint, *(command or config.command))
    if not full:
        raise SandboxError("the image has no command of its own", "name one")
    return full
