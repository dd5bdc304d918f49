# SPDX-License-Identifier: Apache-2.0
"""What a command is started by in an image whose environment shell scripts make, or that has some
mounted where they are: a shell of the image's, in place of Apptainer's own.

It does what apptainer's internal/pkg/util/fs/files/action_script.sh does, in the same order: the
scripts know nothing of the caller; then comes what the caller means for the command, and last what
else the caller has and nobody has set.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from cwl_udss.doors.apptainer.running.environment import LIBRARIES, Variables, with_default_path
from cwl_udss.images.manifests.command import DEFAULT_PATH

SCRIPTS = "/.singularity.d/env"
RUNSCRIPT = "/.singularity.d/runscript"
TEST = "/.singularity.d/test"
STARTSCRIPT = "/.singularity.d/startscript"
_SHELL = "/bin/sh"
# Values come as variables of the shell's, of which any number may be of any length: a single
# argument may not (MAX_ARG_STRLEN in the kernel's binfmts.h).
_NAMED, _PASSED = "_UDSS_N_", "_UDSS_P_"
_LISTS = ("_UDSS_NAMED", "_UDSS_PASSED")
# So that ps(1) shows the command, and nothing of this.
_WHOLE_SCRIPT = "_UDSS_SCRIPT"
_PATHS = ("_UDSS_PATH", "_UDSS_PREPEND_PATH", "_UDSS_APPEND_PATH")


class Action(enum.Enum):
    """What is done in an image."""

    EXEC = "exec"
    RUN = "run"
    SHELL = "shell"
    TEST = "test"
    START = "start"


_NOT_FOUND = r"""
_udss_fatal() { echo "FATAL:   $1" >&2; exit 255; }
_udss_check() {
    case $1 in
    */*)
        [ -e "$1" ] || _udss_fatal "stat $1: no such file or directory"
        [ -d "$1" ] && _udss_fatal "$1: is a directory"
        [ -x "$1" ] || _udss_fatal "$1: permission denied" ;;
    *)
        _udss_found=
        IFS=:
        for _udss_directory in $PATH; do
            _udss_path=${_udss_directory:-.}/$1
            [ -x "$_udss_path" ] && [ ! -d "$_udss_path" ] && _udss_found=yes
        done
        unset IFS
        [ -n "$_udss_found" ] || _udss_fatal "\"$1\": executable file not found in \$PATH" ;;
    esac
}
"""
# A script with an error in it would end the shell; as an argument of `command` it does not. What
# Apptainer makes of values of Docker's may be such a one.
_ENVIRONMENT = f"""
set -f
PS1='Apptainer> '
export PS1
_udss_named() {{
    for _udss_name in $_UDSS_NAMED; do
        eval "export $_udss_name=\\"\\$_UDSS_N_$_udss_name\\""
    done
    case :${{LD_LIBRARY_PATH:-}}: in
    *:{LIBRARIES}:*) ;;
    *) LD_LIBRARY_PATH="${{LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}}{LIBRARIES}" ;;
    esac
    export LD_LIBRARY_PATH
    _udss_named() {{ :; }}
}}
_udss_default_path() {{
    _udss_default={DEFAULT_PATH}
    IFS=:
    for _udss_directory in $_udss_default; do
        case :$PATH: in
        *:$_udss_directory:*) ;;
        *) PATH="${{PATH:+$PATH:}}$_udss_directory" ;;
        esac
    done
    unset IFS
    export PATH
}}
set +f
for _udss_script in {SCRIPTS}/*.sh; do
    [ -f "$_udss_script" ] || continue
    case $_udss_script in
    {SCRIPTS}/99-[c-z]*|{SCRIPTS}/[a-z]*) _udss_named ;;
    esac
    command . "$_udss_script"
    case $_udss_script in
    */10-docker2singularity.sh|*/10-docker.sh) _udss_default_path ;;
    */99-base.sh) _udss_named ;;
    esac
done
set -f
_udss_named
PATH="${{_UDSS_PREPEND_PATH:+$_UDSS_PREPEND_PATH:}}$PATH${{_UDSS_APPEND_PATH:+:$_UDSS_APPEND_PATH}}"
PATH="${{_UDSS_PATH:-$PATH}}"
export PATH
for _udss_name in $_UDSS_PASSED; do
    eval "_udss_state=\\"\\${{$_udss_name+set}}\\${{$_udss_name:+full}}\\""
    case $_udss_state in
    "") eval "export $_udss_name=\\"\\$_UDSS_P_$_udss_name\\"" ;;
    set) unset "$_udss_name" ;;
    esac
done
for _udss_name in $_UDSS_NAMED; do unset "_UDSS_N_$_udss_name"; done
for _udss_name in $_UDSS_PASSED; do unset "_UDSS_P_$_udss_name"; done
unset {" ".join((*_LISTS, *_PATHS, _WHOLE_SCRIPT))}
set +f
"""
_SHELLS = """
if [ -n "${SINGULARITY_SHELL:-}" ] && [ -x "${SINGULARITY_SHELL:-}" ]; then
    exec "$SINGULARITY_SHELL"
elif [ -x /bin/bash ]; then
    SHELL=/bin/bash
    export SHELL
    exec /bin/bash --norc
fi
SHELL=/bin/sh
export SHELL
exec /bin/sh
"""
_ENDINGS = {
    Action.EXEC: '_udss_check "$1"\nexec "$@"\n',
    Action.RUN: f'[ -x {RUNSCRIPT} ] && exec {RUNSCRIPT} "$@"\n'
    '[ $# -eq 0 ] || { _udss_check "$1"; exec "$@"; }\n'
    f"exec {_SHELL}\n",
    Action.SHELL: _SHELLS,
    Action.TEST: f'[ -x {TEST} ] && exec {TEST} "$@"\n'
    "echo 'INFO:    No test script found in container, exiting' >&2\nexit 0\n",
    # What it reads from stays open.
    Action.START: f'[ -x {STARTSCRIPT} ] && {STARTSCRIPT} "$@" &\n'
    "while :; do read -r _udss_line || sleep 1; done\n",
}


def wrapped_command(action: Action, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return what makes the environment, and then runs a command as an action does."""
    return (_SHELL, "-c", f'eval "${_WHOLE_SCRIPT}"', "sh", *words)


def wrapped_environment(
    action: Action, image: Mapping[str, str], variables: Variables
) -> dict[str, str]:
    """Return the environment for wrapped_command(). `image` is what is set without scripts."""
    named, passed = variables.named, variables.passed
    return {
        **variables.own,
        **image,
        "PATH": with_default_path(image.get("PATH", "")),
        **{f"{_NAMED}{name}": value for name, value in named.items()},
        **{f"{_PASSED}{name}": value for name, value in passed.items()},
        "_UDSS_NAMED": " ".join(named),
        "_UDSS_PASSED": " ".join(passed),
        **{f"_UDSS_{name}": value for name, value in variables.path.items()},
        _WHOLE_SCRIPT: _NOT_FOUND + _ENVIRONMENT + _ENDINGS[action],
    }
