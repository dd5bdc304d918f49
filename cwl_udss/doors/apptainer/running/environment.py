# SPDX-License-Identifier: Apache-2.0
"""The environment of a command, as Apptainer makes it of the caller's, the image's and what is
meant for the command by name (apptainer's internal/pkg/util/env, and its action_script.sh).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import field

from cwl_udss.images.manifests.command import DEFAULT_PATH
from cwl_udss.records import record

_FOR_THE_COMMAND = ("APPTAINERENV_", "SINGULARITYENV_")
_FOR_APPTAINER = ("APPTAINER_", "SINGULARITY_")
# What is passed on also where all else is not.
_ALWAYS = frozenset(
    (
        *("TERM", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"),
        *("all_proxy", "ALL_PROXY", "ftp_proxy", "FTP_PROXY"),
    )
)
_NEVER = frozenset(("HOME", "PATH", "LD_LIBRARY_PATH"))
_NOT_EVEN_BY_NAME = frozenset(("HOME",))
LIBRARIES = "/.singularity.d/libs"
_PROMPT = "Apptainer> "
# What no shell can set is passed on by none: functions of bash, say.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@record(frozen=True, kw_only=True)
class Variables:
    """What the caller has for a command."""

    named: Mapping[str, str]
    """Meant for it: APPTAINERENV_NAME, --env. They are stronger than the image's."""
    path: Mapping[str, str] = field(default_factory=dict)
    """Of these what is about PATH: "PATH", "PREPEND_PATH", "APPEND_PATH"."""
    passed: Mapping[str, str] = field(default_factory=dict)
    """The caller's own, weaker than the image's."""
    own: Mapping[str, str] = field(default_factory=dict)
    """What Apptainer says of itself, and HOME."""


def variables_of(
    environment: Mapping[str, str],
    given: Mapping[str, str],
    own: Mapping[str, str],
    *,
    clean: bool,
) -> Variables:
    """Return what a command gets of its caller's environment; `given` was given as options."""
    environment = {name: value for name, value in environment.items() if _NAME.fullmatch(name)}
    by_name: dict[str, str] = {}
    for prefix in reversed(_FOR_THE_COMMAND):
        found = ((name, value) for name, value in environment.items() if name.startswith(prefix))
        by_name |= {name[len(prefix) :]: value for name, value in found}
    by_name |= given
    path_names = ("PATH", "PREPEND_PATH", "APPEND_PATH")
    left_out = {*path_names, *_NOT_EVEN_BY_NAME, ""}
    passed = {
        name: value
        for name, value in environment.items()
        if not name.startswith((*_FOR_APPTAINER, *_FOR_THE_COMMAND))
        and (name in _ALWAYS or not (clean or name in _NEVER))
    }
    return Variables(
        named={name: value for name, value in by_name.items() if name not in left_out},
        path={name: by_name[name] for name in path_names if name in by_name},
        passed={"LANG": "C", **passed} if clean else passed,
        own=own,
    )


def whole_environment(image: Mapping[str, str], variables: Variables) -> dict[str, str]:
    """Return the environment of a command in an image that sets these variables, and has no scripts
    that set more."""
    values = {**variables.own, **image}
    values["PATH"] = with_default_path(image.get("PATH", ""))
    values["LD_LIBRARY_PATH"] = _with_libraries(values.get("LD_LIBRARY_PATH", ""))
    values.setdefault("PS1", _PROMPT)
    for name, value in variables.named.items():
        values[name] = _with_libraries(value) if name == "LD_LIBRARY_PATH" else value
    values["PATH"] = chosen_path(values["PATH"], variables.path)
    for name, value in variables.passed.items():
        if name not in values:
            values[name] = value
        elif not values[name]:  # what is empty in an image is unset for those who have it set
            del values[name]
    return values


def with_default_path(path: str) -> str:
    """Return a PATH with those of the usual directories that it lacks."""
    parts = path.split(":") if path else []
    return ":".join([*parts, *(part for part in DEFAULT_PATH.split(":") if part not in parts)])


def chosen_path(path: str, wanted: Mapping[str, str]) -> str:
    """Return a PATH with what the caller wants of it."""
    if wanted.get("PATH"):
        return wanted["PATH"]
    parts = (wanted.get("PREPEND_PATH"), path, wanted.get("APPEND_PATH"))
    return ":".join(part for part in parts if part)


def _with_libraries(path: str) -> str:
    return f"{path}:{LIBRARIES}" if path else LIBRARIES


_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_REFERENCE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_DOLLAR = "\0"  # stands for one that names nothing


def file_variables(lines: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a file for --env-file sets: assignments of a shell, whose values may be quoted,
    and name others before them. Raises ValueError for another line."""
    found: dict[str, str] = {}
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(text)
        if match is None:
            raise ValueError(text)
        found[match[1]] = _value(match[2], {**environment, **found})
    return found


def _value(text: str, known: Mapping[str, str]) -> str:
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1]

    parts = shlex.split(text.replace(r"\$", _DOLLAR), comments=True) or [""]
    expanded = _REFERENCE.sub(lambda match: known.get(match[1] or match[2], ""), " ".join(parts))
    return expanded.replace(_DOLLAR, "$")
