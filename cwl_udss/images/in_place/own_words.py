# SPDX-License-Identifier: Apache-2.0
"""What a root filesystem says in files of its own of how to be run, as its maker has left it there:
Apptainer, Charliecloud, enroot."""

from __future__ import annotations

import contextlib
import json
import shlex
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from cwl_udss.images.in_place.scripts import SCRIPTS, scripted_environment
from cwl_udss.images.manifests.documents import text, texts
from cwl_udss.images.manifests.manifest import ImageConfig
from cwl_udss.sandbox import RootFilesystem, Runtime

_LARGEST_FILE = 1 << 20
_RUNSCRIPT = ".singularity.d/runscript"
_ALL_ARGUMENTS = "$@"


def own_words(
    name: str, root: RootFilesystem, config: ImageConfig, runtime: Callable[[], Runtime]
) -> Mapping[str, Any]:
    """Return what a root filesystem says, as OCI's configurations have it ("Env" and so on); what
    it does not say is not there. `config` is what is known already, `name` is for messages. Raises
    ImageError if its scripts fail."""
    here = root.here
    if is_inside(here, SCRIPTS, stat.S_ISDIR):
        environment = scripted_environment(name, root, config.environment, runtime)
        words: dict[str, Any] = {"Env": list(environment)}
        if is_inside(here, _RUNSCRIPT, stat.S_ISREG):
            words["Cmd"] = ["/bin/sh", f"/{_RUNSCRIPT}"]
        return words
    if is_inside(here, "ch", stat.S_ISDIR):
        return charliecloud_words(_read(here, "ch/metadata.json"), _read(here, "ch/environment"))
    return enroot_words(_read(here, "etc/rc"), _read(here, "etc/environment"))


def with_own_words(config: ImageConfig, words: Mapping[str, Any]) -> ImageConfig:
    """Return a configuration with what the image itself says of its process ("Env" and so on). The
    environment is all in there, the rest where the configuration says nothing."""
    return replace(
        config,
        environment=texts(words, "Env") or config.environment,
        entrypoint=config.entrypoint or texts(words, "Entrypoint"),
        command=config.command or texts(words, "Cmd"),
        working_directory=config.working_directory or text(words, "WorkingDir"),
    )


def charliecloud_words(metadata: str | None, environment: str | None) -> Mapping[str, Any]:
    """Return what `ch-image` (metadata.json) and `ch-convert` (environment, lines for ch-run's
    --set-env) have written."""
    words: dict[str, Any] = {}
    try:
        content = json.loads(metadata or "{}")
    except (ValueError, RecursionError):
        content = {}
    if isinstance(content, dict):
        if isinstance(content.get("env"), dict):
            words["Env"] = [f"{key}={value}" for key, value in content["env"].items()]
        if isinstance(content.get("cwd"), str):
            words["WorkingDir"] = content["cwd"]
        for name, key in (("Entrypoint", "entrypoint"), ("Cmd", "cmd")):
            if isinstance(content.get(key), list):
                words[name] = [str(word) for word in content[key]]
    if "Env" not in words and environment is not None:
        words["Env"] = _assignments(environment)
    return words


def enroot_words(script: str | None, environment: str | None) -> Mapping[str, Any]:
    """Return what `enroot import` has written: the environment in lines, and a script that goes to
    the working directory and executes the entry point (enroot's src/docker.sh)."""
    if script is None:
        return {}
    try:
        lines = [shlex.split(line) for line in script.splitlines() if line.strip()]
    except ValueError:
        return {}
    commands = [line[1:] for line in lines if line[0] == "exec"]
    directories = [line[1] for line in lines if line[0] == "cd" and len(line) > 1]
    if len(commands) != 2 or _ALL_ARGUMENTS not in commands[0]:
        return {}
    entrypoint = [word for word in commands[0] if word != _ALL_ARGUMENTS]
    return {
        "Env": _assignments(environment or ""),
        "Entrypoint": entrypoint,
        "Cmd": commands[1][len(entrypoint) :],
        "WorkingDir": next(iter(directories), ""),
    }


def is_inside(root: Path, path: str, is_kind: Callable[[int], bool]) -> bool:
    """Say whether a root filesystem has something at a path, with no symbolic link on the way,
    which could lead out to the host."""
    place = root
    parts = PurePosixPath(path).parts
    try:
        for part in parts[:-1]:
            place = place / part
            if not stat.S_ISDIR(place.lstat().st_mode):
                return False
        return is_kind((place / parts[-1]).lstat().st_mode)
    except OSError:  # not there, or not for us to see
        return False


def read_inside(root: Path, path: str) -> bytes | None:
    """Return what is in a file of a root filesystem, with no symbolic link on the way; None if
    there is none that may be read."""
    if is_inside(root, path, stat.S_ISREG):
        with contextlib.suppress(OSError), (root / path).open("rb") as stream:
            return stream.read(_LARGEST_FILE)
    return None


def _read(root: Path, path: str) -> str | None:
    content = read_inside(root, path)
    return None if content is None else content.decode("utf-8", "surrogateescape")


def _assignments(lines: str) -> list[str]:
    return [line for line in lines.splitlines() if line[:1] not in ("", "#") and "=" in line]
