# SPDX-License-Identifier: Apache-2.0
"""What enroot needs in a root filesystem to run it as its configuration says: what `enroot import`
puts there (enroot's src/docker.sh, "docker::configure")."""

from __future__ import annotations

import shlex

from cwl_udss.images.links.added import AddedFile, Additions
from cwl_udss.images.manifests.manifest import ImageConfig


def additions(config: ImageConfig) -> Additions:
    """Return what is put into the root filesystem of an image."""
    texts = {
        "etc/rc": (0o755, start_script(config)),
        "etc/rc.local": (0o644, ""),
        "etc/environment": (0o644, "".join(f"{entry}\n" for entry in config.environment)),
        "etc/fstab": (0o644, ""),
    }
    return Additions(
        files={
            path: AddedFile(mode=mode, content=text.encode(errors="surrogateescape"), replaces=True)
            for path, (mode, text) in texts.items()
        }
    )


def start_script(config: ImageConfig) -> str:
    """Return what enroot starts, with the arguments that are to replace the command."""
    directory = shlex.quote(config.working_directory or "/")
    entrypoint = "".join(f"{shlex.quote(word)} " for word in config.entrypoint)
    command = shlex.join(config.command or (() if config.entrypoint else ("/bin/sh",)))
    return (
        f"mkdir -p {directory} 2> /dev/null\n"
        f"cd {directory} && unset OLDPWD || exit 1\n"
        "if [ -s /etc/rc.local ]; then\n"
        "    . /etc/rc.local\n"
        "fi\n"
        "if [ $# -gt 0 ]; then\n"
        f'    exec {entrypoint}"$@"\n'
        "else\n"
        f"    exec {entrypoint}{command}\n"
        "fi\n"
    )
