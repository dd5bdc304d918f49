#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the containment suite in each runtime on machines that lack something, and writes the page
that says how it went, docs/machines.md, and the table of limits in docs/sandbox.md. What is not run
anew stays as it was."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from stand_ins import cache_directory, mirrors, serve_registry, stand_in_registry

from cwl_udss.commands.containment import IMAGE
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.runtimes.choosing.table import APPTAINER, AUTO, PODMAN, RUNTIMES
from cwl_udss.sandbox import Limit

ROOT = Path(__file__).parent.parent
# These are the tests' own.
sys.path[:0] = [str(ROOT / "tests" / room) for room in ("", "runtimes", "images")]
from engines_here import apptainer_environment, podman_environment  # noqa: E402
from foreign.sid import debian_sid  # noqa: E402
from machines import MACHINES, is_possible  # noqa: E402

RESULTS = Path(__file__).parent / "matrix.json"
PAGE, SANDBOX_PAGE = ROOT / "docs/machines.md", ROOT / "docs/sandbox.md"
NOT_RUN = "–"
CONTAINED, FAILED, UNUSABLE, IMPOSSIBLE = "contained", "failed", "unusable", "impossible"
# Those that show no image have no suite.
COLUMNS = [AUTO, *(name for name, kind in RUNTIMES.items() if kind.is_automatic)]
HEAD = """# Runtimes on machines that lack something

Made by `conformance/matrix.py`, which runs the containment suite
(`cwl-udss doctor --containment`) in each [runtime](sandbox.md#which-runtime) on machines that
are made for it on one: no cell is written by hand. *n* ✔ are tests that pass; those *by limits*
cannot, by the limits that the runtime names beforehand, and are accepted; ✘ are failures. Where a
runtime does not work, a note says what `cwl-udss doctor` says there; – was not run. *auto* is what
`--udss-runtime auto` takes there for who accepts nothing by name. Apptainer is Debian sid's,
started where it finds sid's files; podman is told to use runc. Machines with mounts of their own
are made by a user namespace, in which setuid programs have no power.
"""
Cell: TypeAlias = "dict[str, str]"
"""What came of it ("state"), and what is said of that ("text")."""
Results: TypeAlias = "dict[str, dict[str, Cell]]"
"""By machine, by runtime."""


def main() -> None:
    """Run the cells that are wanted, and write the page."""
    options = parser().parse_args()
    found: Results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    wanted = [
        (machine, runtime)
        for machine in options.machine or MACHINES
        for runtime in options.runtime or COLUMNS
    ]
    if not options.page:
        with (
            # /tmp is another on some of the machines.
            tempfile.TemporaryDirectory(prefix="matrix-", dir=cache_directory()) as place,
            serve_registry(stand_in_registry()) as address,
        ):
            environment = pulled(Path(place), address)
            for machine, runtime in wanted:
                with engine_environment(runtime, Path(place)) as variables:
                    cell = run(machine, runtime, {**environment, **variables})
                print(f"{machine}, {runtime}: {cell['state']}: {cell['text']}", flush=True)
                found.setdefault(machine, {})[runtime] = cell
                RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")
    PAGE.write_text(page(found), encoding="utf-8")
    SANDBOX_PAGE.write_text(with_limits(SANDBOX_PAGE.read_text("utf-8")), encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="conformance/matrix.py", description=__doc__, epilog="A cell takes a minute."
    )
    parser.add_argument(
        "--machine", action="append", choices=MACHINES, help="only this row (again and again)"
    )
    parser.add_argument(
        "--runtime", action="append", choices=COLUMNS, help="only this column (again and again)"
    )
    parser.add_argument("--page", action="store_true", help="run nothing, only write the pages")
    return parser


def pulled(place: Path, address: str) -> Mapping[str, str]:
    """Return the environment in which the suite's image is in a store."""
    (place / "registries.conf").write_text(mirrors(address))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CONTAINERS_REGISTRIES_CONF": str(place / "registries.conf"),
        "CWL_UDSS_STORE": str(place / "store"),
        "CWL_UDSS_FORMAT": "directory",
    }
    command = [sys.executable, "-m", "cwl_udss", "images", "pull", IMAGE]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return environment


@contextlib.contextmanager
def engine_environment(runtime: str, place: Path) -> Iterator[Mapping[str, str]]:
    """Have the variables with which a container engine works here."""
    if runtime == PODMAN:
        with podman_environment() as environment:
            yield environment
    elif runtime == APPTAINER:
        programs = place / "programs"
        programs.mkdir(exist_ok=True)
        yield apptainer_environment(debian_sid(find_bubblewrap(None).path, ROOT), programs)
    else:
        yield {}


def run(machine: str, runtime: str, environment: Mapping[str, str]) -> Cell:
    """Run the suite in a runtime on a machine."""
    made = MACHINES[machine]()
    if made and not is_possible(made):
        return {"state": IMPOSSIBLE, "text": "such a machine cannot be made here"}
    if runtime == PODMAN and {"--user", "--mount"} <= set(made):
        return {"state": IMPOSSIBLE, "text": "newuidmap has no power on a machine that is made so"}
    command = [*made, sys.executable, "-m", "cwl_udss", "doctor"]
    if runtime == AUTO:
        return chosen(_said(command, environment))
    command += ["--runtime", runtime]
    tried = _said(command, environment)
    problem = re.search(rf"^{runtime}: (.*)", tried, re.MULTILINE)
    if problem:
        return {"state": UNUSABLE, "text": problem[1]}
    said = _said([*command, "--containment"], environment)
    return verdict(said)


def chosen(said: str) -> Cell:
    """Return which runtime `cwl-udss doctor` says that a run has, in a cell."""
    found = re.search(r"^(\w+) +sandbox: +(.*)", said, re.MULTILINE)
    if found is None:
        return {"state": FAILED, "text": said.strip() or "it has said nothing"}
    if found[1] == "FAIL":
        return {"state": UNUSABLE, "text": found[2]}
    return {"state": CONTAINED, "text": re.split(r" v?\d", found[2])[0]}


def verdict(said: str) -> Cell:
    """Return what the suite has said, in a cell."""
    *_, last = said.strip().splitlines() or [""]
    limited = re.search(r"for its limits in (\d+)", last)
    contained = re.match(r"contained.*\((\d+) tests in", last)
    failed = re.match(r"(\d+) of (\d+) tests failed", last)
    by_limits = int(limited[1]) if limited else 0
    more = f", {by_limits} by limits" if limited else ""
    if contained:
        return {"state": CONTAINED, "text": f"{int(contained[1]) - by_limits} ✔{more}"}
    if failed:
        passed = int(failed[2]) - int(failed[1]) - by_limits
        return {"state": FAILED, "text": f"{passed} ✔, {failed[1]} ✘{more}"}
    return {"state": FAILED, "text": last or "it has said nothing"}


def _said(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # Where things are installed is this machine's affair.
    places = "|".join(map(re.escape, (sys.prefix, str(cache_directory()))))
    return re.sub(rf"({places})/\S*/", "", done.stdout or done.stderr)


def page(found: Results) -> str:
    """Return the page."""
    notes: dict[str, int] = {}
    lines = [
        f"| | {' | '.join(COLUMNS)} |",
        f"| --- |{' --- |' * len(COLUMNS)}",
        *(
            f"| {machine} | "
            f"{' | '.join(_cell(found.get(machine, {}).get(name), notes) for name in COLUMNS)} |"
            for machine in MACHINES
        ),
    ]
    title, _, text = HEAD.partition("\n\n")
    head = f"{title}\n\n{' '.join(text.split())}\n"  # paragraphs are lines in docs/
    return "\n".join((head, *lines, "", *_notes(notes), ""))


def limits_table() -> str:
    """Return the table of all limits, as it is in docs/sandbox.md."""
    found: dict[Limit, list[str]] = {}
    for name, kind in RUNTIMES.items():
        for limit in kind.limits:
            found.setdefault(limit, []).append(name)
    rows = [("limit", "of", "must be accepted", ""), ("---",) * 4]
    rows += [
        (f"`{limit.name}`", ", ".join(of), "yes" if limit.is_weakness else "no", limit.text)
        for limit, of in sorted(found.items(), key=lambda item: not item[0].is_weakness)
    ]
    rows.append(("none", ", ".join(n for n, kind in RUNTIMES.items() if not kind.limits), "", ""))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_limits(text: str) -> str:
    """Return the text of docs/sandbox.md with that table in it."""
    before, begin, rest = text.partition("<!-- limits -->\n")
    _, end, after = rest.partition("<!-- end of limits -->")
    return f"{before}{begin}{limits_table()}{end}{after}"


def _cell(cell: Cell | None, notes: dict[str, int]) -> str:
    if cell is None:
        return NOT_RUN
    if cell["state"] in (CONTAINED, FAILED):
        return cell["text"]
    number = notes.setdefault(_plain(cell["text"]), len(notes) + 1)
    return f"{NOT_RUN if cell['state'] == IMPOSSIBLE else 'no'} ({number})"


def _plain(text: str) -> str:
    """What there is to do, if that is said after what has failed; else all of it."""
    return re.sub(r"^no sandbox can be made with .*\): ", "", text).replace("|", "\\|")


def _notes(notes: Mapping[str, int]) -> Iterator[str]:
    yield from (f"{number}. {text}" for text, number in notes.items())


if __name__ == "__main__":
    main()
