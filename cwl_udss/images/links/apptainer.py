# SPDX-License-Identifier: Apache-2.0
"""What Apptainer and Singularity need in a root filesystem to run it as its configuration says.

They know no configuration beside it: environment, entry point and command are shell scripts below
/.singularity.d, as `apptainer pull docker://…` puts them there (apptainer's
internal/pkg/build/sources, conveyorPacker_oci.go and base_environment.go). These are our own.
Working directory and user are in none; programs that want them read oci-config.json.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping

from cwl_udss.images.links.added import AddedFile, Additions
from cwl_udss.images.locations import is_path
from cwl_udss.images.manifests.manifest import ImageConfig
from cwl_udss.images.transports import split_transport

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXECUTABLE = 0o755

_SOURCE_ALL = """#!/bin/sh
for script in /.singularity.d/env/*.sh; do
    if [ -f "$script" ]; then . "$script"; fi
done
"""
# By the names under which Singularity before 3.6 starts them; those since have them in themselves.
_ACTIONS = {
    "exec": 'exec "$@"\n',
    "run": 'exec /.singularity.d/runscript "$@"\n',
    "shell": 'exec /bin/sh "$@"\n',
    "start": "exec /.singularity.d/startscript\n",
    "test": "exit 0\n",
}
_LIBRARIES = """#!/bin/sh
LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs"
PS1="Apptainer> "
export LD_LIBRARY_PATH PS1
"""
# What `--env PATH=` and the like come as.
_PATHS = """#!/bin/sh
PATH="${SING_USER_DEFINED_PREPEND_PATH:+$SING_USER_DEFINED_PREPEND_PATH:}$PATH"
PATH="$PATH${SING_USER_DEFINED_APPEND_PATH:+:$SING_USER_DEFINED_APPEND_PATH}"
PATH="${SING_USER_DEFINED_PATH:-$PATH}"
unset SING_USER_DEFINED_PREPEND_PATH SING_USER_DEFINED_APPEND_PATH SING_USER_DEFINED_PATH
export PATH
"""
_NOTHING = "#!/bin/sh\n"


# In the root directory.
_LINKS = {
    ".exec": ".singularity.d/actions/exec",
    ".run": ".singularity.d/actions/run",
    ".shell": ".singularity.d/actions/shell",
    ".test": ".singularity.d/actions/test",
    "environment": ".singularity.d/env/90-environment.sh",
    "singularity": ".singularity.d/runscript",
}
# What something is mounted on.
_DIRECTORIES = ("dev", "home", "proc", "root", "sys", "tmp", "var/tmp", ".singularity.d/libs")


def additions(config: ImageConfig, definition: str, labels: Mapping[str, str]) -> Additions:
    """Return what is put into the root filesystem of an image."""
    scripts = {f"actions/{name}": _SOURCE_ALL + line for name, line in _ACTIONS.items()}
    scripts |= {
        "env/01-base.sh": _NOTHING,
        "env/10-docker2singularity.sh": environment_script(config),
        "env/90-environment.sh": _NOTHING,
        "env/99-base.sh": _LIBRARIES,
        "env/99-runtimevars.sh": _PATHS,
        "runscript": run_script(config),
        "startscript": _NOTHING,
    }
    texts = {
        "Singularity": definition,
        "labels.json": json.dumps(labels, indent=1, sort_keys=True) + "\n",
    }
    files = {
        f".singularity.d/{name}": AddedFile(
            mode=mode, content=text.encode(errors="surrogateescape")
        )
        for mode, texts_of_mode in ((_EXECUTABLE, scripts), (0o644, texts))
        for name, text in texts_of_mode.items()
    }
    return Additions(files=files, links=_LINKS, directories=_DIRECTORIES)


def definition_of(name: str) -> str:
    """Return the definition file that stands for having pulled an image by a name, which may have a
    prefix (`oras://`), or for having taken what is at a path."""
    transport, rest = split_transport(name)
    bootstrap = transport.name if transport else "localimage" if is_path(name) else "docker"
    return f"bootstrap: {bootstrap}\nfrom: {rest}\n"


def environment_script(config: ImageConfig) -> str:
    """Return what sets an image's environment. What the caller has set stays, but for PATH; names
    that no shell knows are left out."""
    return _NOTHING + "".join(_settings(config.environment))


def _settings(environment: tuple[str, ...]) -> Iterator[str]:
    for entry in environment:
        name, _, value = entry.partition("=")
        if _NAME.fullmatch(name):
            quoted = shlex.quote(value)
            unset = "" if name == "PATH" else f'[ -n "${{{name}:-}}" ] || '
            yield f"{unset}{name}={quoted}\nexport {name}\n"


def run_script(config: ImageConfig) -> str:
    """Return what runs an image as `docker run` does: the command is replaced by arguments, the
    entry point is not."""
    command = shlex.join(config.command)
    if not config.entrypoint and not command:
        command = "/bin/sh"
    default = f"[ $# -gt 0 ] || set -- {command}\n" if command else ""
    words = (*map(shlex.quote, config.entrypoint), '"$@"')
    return f"{_NOTHING}{default}exec {' '.join(words)}\n"
