# SPDX-License-Identifier: Apache-2.0
"""What qsub makes of its command line, its script and its environment."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from pbs_options import UsageError, misused, parse, refuse_unknown
from pbs_variables import encode, expand

_PATTERNS = {
    "J": r"(\d+)-(\d+)(:[1-9]\d*)?(%[1-9]\d*)?",
    "N": r"[A-Za-z0-9_+.-]+",
    "j": r"oe|eo|n",
    "k": r"n|d?(oe|eo|o|e)",
    "R": r"oe|eo|o|e",
    "p": r"-?\d+",
    "r": r"[yn]",
}
_KNOWN = "aACefhjJklmMNopPqrRSvVWz"
_WORDS = ("depend", "umask", "block", "max_run_subjobs")
_BASIC = ("HOME", "LANG", "LOGNAME", "PATH", "MAIL", "SHELL", "TZ")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job as qsub sends it to the server."""

    arguments: str
    script: str
    executable: tuple[str, ...]
    """A command line in place of a script."""
    directory: str
    name: str
    queue: str
    held: bool
    rerunable: bool
    priority: int
    join: str
    keep: str
    mail: str
    remove: str | None
    output: str | None
    error: str | None
    account: str | None
    project: str
    shell: str | None
    waits_until: int | None
    resources: Mapping[str, str]
    variables: str
    """Encoded, without those that depend on queue and host."""
    depend: str | None
    umask: str | None
    indices: range | None
    max_run: int | None
    block: bool
    silent: bool
    background: bool
    """Whether the process of an earlier qsub may send it, or this one leave one behind."""


@dataclass
class Options:
    """Options as they have been given; what was there first stays."""

    letters: dict[str, str] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    executable: tuple[str, ...] = ()
    script: str = ""

    def add(self, options: Sequence[tuple[str, str]]) -> None:
        """Take options of a lower rank; among them the last counts."""
        letters = {letter: value for letter, value in options if letter not in "lW"}
        self.letters = {**letters, **self.letters}
        self.resources = {**_pairs("l", options), **self.resources}
        self.words = {**_pairs("W", options), **self.words}


def command_line(arguments: Sequence[str]) -> Options:
    """Read the command line. Raises UsageError."""
    given, operands, complaints = _parse(arguments)
    # Options are read wherever they stand, but a script must come last.
    if complaints or (operands and operands[0] != "--" and len(operands) > 1) or operands == ["--"]:
        raise misused("qsub", complaints)
    options = Options()
    options.add(given)
    if operands[:1] == ["--"]:
        options.executable = tuple(operands[1:])
    elif operands:
        options.script = operands[0]
    return options


def read_script(
    options: Options, script: str, environment: Mapping[str, str], dialect: str
) -> None:
    """Add the directives in a script to the options. Raises UsageError."""
    prefix = options.letters.get("C", environment.get("PBS_DPREFIX", "#PBS"))
    directives: list[tuple[str, str]] = []
    executable = False
    # A directive goes on where its line ends in a backslash.
    joined = re.sub(rf"(?m)^(\s*{re.escape(prefix)}.*)\\\n", r"\1", script)
    for line in joined.splitlines(keepends=True):
        text = line.lstrip()
        if not executable and prefix and text.startswith(prefix):
            directives += _read_directive(text[len(prefix) :])
        elif text and text[0] != "#" and line[0] != ":":
            executable = True
        if line.endswith("\r\n") and dialect == "master":
            raise UsageError("qsub: script contains cr, lf\n", 1)
    options.add(directives)


def _read_directive(text: str) -> list[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError:
        raise UsageError("qsub: unmatched \n", 1) from None
    given, operands, complaints = _parse(words)
    if complaints or operands:
        directive = "".join(f"{word} " for word in words)
        raise UsageError(f"{complaints}qsub: directive error: {directive}\n", 1)
    return given


def _parse(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str], str]:
    given, operands, complaints = parse("qsub", words)
    refuse_unknown("qsub", given, _KNOWN)
    for letter, value in given:
        wrong = (
            (letter == "r" and not re.fullmatch(_PATTERNS["r"], value))
            or (letter == "a" and _date(value) is None)
            or (letter in "lW" and not _pairs(letter, [(letter, value)]))
        )
        complaints += f"qsub: illegal -{letter} value\n" if wrong else ""
    if ("r", "n") in given and "J" in dict(given):
        complaints += "qsub:  cannot submit non-rerunable Array Job\n"
    return given, operands, complaints


def submission(
    options: Options,
    arguments: Sequence[str],
    script: str,
    directory: str,
    environment: Mapping[str, str],
    dialect: str,
) -> Submission:
    """Return what is sent to the server. Raises UsageError."""
    letters, words = options.letters, options.words
    _verify(options)
    indices, max_run = _indices(letters.get("J"))
    name = letters.get("N") or PurePath(options.script).name or "STDIN"
    if not re.fullmatch(_PATTERNS["N"], name):
        raise misused("qsub", "qsub: illegal -N value\n")
    return Submission(
        arguments=" ".join(arguments),
        script=script,
        executable=options.executable,
        directory=directory,
        name=name,
        queue=letters.get("q", ""),
        held="h" in letters,
        rerunable=letters.get("r", "y") == "y",
        priority=int(letters.get("p", "0")),
        join=letters.get("j", "n"),
        keep=letters.get("k", "n"),
        mail=letters.get("m", "a"),
        remove=letters.get("R"),
        output=_path(letters.get("o"), directory),
        error=_path(letters.get("e"), directory),
        account=letters.get("A"),
        project=letters.get("P", "_pbs_project_default"),
        shell=letters.get("S", environment.get("PBS_SHELL")),
        waits_until=_date(letters["a"]) if "a" in letters else None,
        resources=options.resources,
        variables=_variables(letters, directory, environment, dialect),
        depend=words.get("depend"),
        umask=words.get("umask"),
        indices=indices,
        max_run=max_run or int(words.get("max_run_subjobs", "0")) or None,
        block=words.get("block", "").lower() == "true",
        silent="z" in letters,
        # In a job, qsub takes no short cut.
        background="f" not in letters and "V" not in letters and "PBS_JOBID" not in environment,
    )


def _verify(options: Options) -> None:
    for word in options.words:
        if word not in _WORDS:
            raise UsageError("qsub: Error (15002) submitting job\n", 15002 & 255)
    for letter, pattern in _PATTERNS.items():
        value = options.letters.get(letter)
        if value is None:
            continue
        if letter == "N" and len(value) > 230:
            raise UsageError("qsub: Job name is too long \n", 2)
        if not re.fullmatch(pattern, value) or (letter == "p" and abs(int(value)) > 1023):
            if letter == "p" and int(value) == -1024:
                continue
            raise misused("qsub", f"qsub: illegal -{letter} value\n")
    if not re.fullmatch(r"[0-7]{0,4}", options.words.get("umask", "")):
        raise misused("qsub", "qsub: illegal -W value\n")


def _pairs(wanted: str, options: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The names and values in all options of a letter."""
    pairs: dict[str, str] = {}
    for letter, text in options:
        if letter == wanted:
            # A comma ends a value, if what follows is a name with a value again.
            found = re.findall(r"\s*([A-Za-z_]\w*)\s*=((?:(?!,\s*[A-Za-z_]\w*\s*=).)*),?", text)
            pairs.update((name, value.strip().strip("'\"")) for name, value in found)
    return pairs


def _indices(value: str | None) -> tuple[range | None, int | None]:
    if value is None:
        return None, None
    match = re.fullmatch(_PATTERNS["J"], value)
    if match is None or int(match[1]) >= int(match[2]):
        raise misused("qsub", "qsub: illegal -J value\n")
    indices = range(int(match[1]), int(match[2]) + 1, int((match[3] or ":1")[1:]))
    if len(indices) > 10000:
        raise UsageError("qsub: Array job exceeds server or queue size limit\n", 15107 & 255)
    return indices, int(match[4][1:]) if match[4] else None


def _path(value: str | None, directory: str) -> str | None:
    if value is None:
        return None
    path = value.partition(":")[2] if re.match(r"[\w.-]+:", value) else value
    return path if path.startswith("/") else f"{directory}/{path}"


def _date(value: str) -> int | None:
    """A date of `[[[[CC]YY]MM]DD]hhmm[.SS]`."""
    digits, _, second = value.partition(".")
    if not re.fullmatch(r"\d{4}|\d{6}|\d{8}|\d{10}|\d{12}", digits):
        return None
    now = time.strftime("%Y%m%d")
    try:
        full = now[: 12 - len(digits)] + digits
        return int(time.mktime(time.strptime(full + (second or "00"), "%Y%m%d%H%M%S")))
    except ValueError:
        return None


def _variables(
    letters: Mapping[str, str], directory: str, environment: Mapping[str, str], dialect: str
) -> str:
    given = [(f"PBS_O_{name}", environment[name]) for name in _BASIC if name in environment]
    if dialect == "master":
        given.append(("PBS_O_INTERACTIVE_AUTH_METHOD", "resvport"))
        given.append(("PBS_O_INTERACTIVE_ENCRYPT_METHOD", ""))
    given += [("PBS_O_WORKDIR", directory), ("PBS_O_SYSTEM", os.uname().sysname)]
    encoded = [f"{name}={encode(value)}" for name, value in given]
    if "v" in letters:
        encoded.append(expand(letters["v"], environment))
    # The release exports nothing: its env_array_to_varlist returns before it has begun.
    if "V" in letters and dialect == "master":
        exported = {name: value for name, value in environment.items() if name[:6] != "PBS_O_"}
        encoded += [f"{name}={encode(value)}" for name, value in exported.items()]
    return ",".join(filter(None, encoded))
