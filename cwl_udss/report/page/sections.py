# SPDX-License-Identifier: Apache-2.0
"""The parts of the page that need no script."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from cwl_udss.machine.quantities import counted
from cwl_udss.report.analysis import Needs
from cwl_udss.report.nextflow import show_duration, show_memory
from cwl_udss.report.page.markup import Markup, element, facts, joined, table, text
from cwl_udss.report.page.results import Item, Shown
from cwl_udss.report.record import Status, StepRecord
from cwl_udss.report.run import Run

_ABSENT = "–"
_MOST_FAILURES = 20


def verdict(run: Run) -> tuple[str, str, str]:
    """Return what has come of a run: a class of page.css, a word, and a sentence."""
    counts = Counter(step.status for step in run.steps)
    words = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])
    steps = f"{counted(len(run.steps), 'job')} of steps{f': {words}' if words else ''}"
    if run.end is None:
        return "unknown", "Not ended", f"The run goes on, or its driver was killed. {steps}."
    took = show_duration(max(0.0, run.end.ended - run.begin.started))
    if run.end.exit_code == 0:
        return "success", "Success", f"It took {took}. {steps}."
    return (
        "failed",
        "Failed",
        f"It ended after {took}, with exit code {run.end.exit_code}. {steps}.",
    )


def head(run: Run) -> Markup:
    """Return the verdict, and what is most wanted to be known with it."""
    kind, word, sentence = verdict(run)
    begin = run.begin
    return joined(
        (
            element("h1", Path(begin.workflow).name or begin.workflow),
            element("p", begin.label, class_="dim") if begin.label else "",
            element(
                "div",
                element("strong", word),
                element("div", sentence),
                class_=f"verdict {kind}",
                role="status",
            ),
        )
    )


def failure(run: Run) -> Markup:
    """Return what has failed first, and what a person needs to go on."""
    failed = run.failed
    if failed is None:
        wrong = run.end is not None and run.end.exit_code != 0
        return _messages(run) if wrong else Markup("")
    others = sum(step.status is Status.FAILED for step in run.steps) - 1
    ran = failed.ran
    rows = [
        ("why", failed.problem or _ending(failed)),
        ("node", ran.node),
        ("its files", ran.directory if os.path.isdir(ran.directory) else ""),
        ("command line", element("pre", shlex.join(failed.command)) if failed.command else ""),
        ("image", failed.image),
        ("to run it again", element("pre", run_again(run, failed))),
    ]
    said = element("pre", ran.said) if ran.said else element("p", "Nothing.", class_="dim")
    more = f"{counted(others, 'other job')} failed after it." if others else ""
    return element(
        "div",
        element("h2", "What failed first: ", failed.name),
        facts(rows),
        element("h3", "The end of its standard error"),
        said,
        element("p", more, class_="dim") if more else "",
        _messages(run),
        class_="failure",
    )


def _ending(step: StepRecord) -> str:
    code = step.ran.exit_code
    words = step.ran.ending
    return words if code is None else f"{words}, exit code {code}" if words else f"exit code {code}"


def run_again(run: Run, step: StepRecord) -> str:
    """Return what to type: for a step that was a job, that one alone."""
    if run.begin.run_directory and step.ran.directory:
        return f"cwl-udss step {shlex.quote(step.ran.directory)}"
    return command_line(run)


def command_line(run: Run) -> str:
    """Return what was typed, and where."""
    return f"cd {shlex.quote(run.begin.directory)}\n{shlex.join(run.begin.command)}"


def _messages(run: Run) -> Markup:
    if run.end is None or not run.end.messages:
        return Markup("")
    lines = "\n".join(run.end.messages)
    return element(
        "details",
        element("summary", "Warnings and errors of the run"),
        element("pre", lines),
        **({} if run.failed else {"open": "open"}),
    )


def workflow_table(run: Run, jobs: dict[str, list[StepRecord]], critical: set[str]) -> Markup:
    """Return the graph's own table."""
    rows = []
    for node in run.begin.nodes:
        mine = jobs.get(node.path, [])
        counts = Counter(job.status.value for job in mine)
        said = ", ".join(f"{number} {word}" for word, number in counts.items())
        rows.append(
            (
                f"{node.path} ◆" if node.path in critical else node.path,
                said or ("none yet" if node.has_jobs else "expression"),
                show_duration(sum(job.ran.times.seconds or 0 for job in mine)) if mine else _ABSENT,
                ", ".join(node.before),
                node.tool,
                node.label,
            )
        )
    return table(("Step", "Jobs", "Time of all", "After", "Tool", "About"), rows, (2,))


def needs_table(needs: Sequence[Needs]) -> Markup:
    """Return what steps have used against what they have asked for."""

    def pair(values: tuple[float, float] | None, show: object) -> str:
        assert callable(show)
        return _ABSENT if values is None else f"{show(values[0])}, {show(values[1])}"

    def shown(value: float | None, show: object) -> str:
        assert callable(show)
        return _ABSENT if value is None else str(show(value))

    rows = [
        (
            need.step,
            need.jobs,
            pair(need.seconds, show_duration),
            shown(need.asked_seconds, show_duration),
            pair(need.memory_bytes, show_memory),
            shown(need.asked_memory_bytes, show_memory),
            pair(need.cores, "{:.2f}".format),
            shown(need.asked_cores, "{:g}".format),
            joined(
                (element("pre", "\n".join(need.advice)), element("span", need.why, class_="dim"))
            )
            if need.advice
            else element("span", "as it is", class_="dim"),
        )
        for need in needs
    ]
    columns = (
        "Step",
        "Jobs",
        "Time",
        "Asked",
        "Memory",
        "Asked",
        "Cores",
        "Asked",
        "Write instead",
    )
    return table(columns, rows, range(1, 8))


def images_table(steps: Sequence[StepRecord]) -> Markup:
    """Return the images, by digest."""
    found: dict[tuple[str, str, int | None, str], int] = Counter(
        (step.image, step.digest, step.image_bytes, step.image_place)
        for step in steps
        if step.image or step.digest
    )
    rows = [
        (name, digest or _ABSENT, show_memory(size) if size else _ABSENT, place or _ABSENT, number)
        for (name, digest, size, place), number in sorted(found.items(), key=str)
    ]
    return table(("Image", "Digest", "Size here", "Used from", "Jobs"), rows, (2, 4))


def nodes_table(steps: Sequence[StepRecord]) -> Markup:
    """Return which machines have run how much."""
    jobs: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for step in steps:
        if step.ran.node:
            jobs[step.ran.node] += 1
            seconds[step.ran.node] += int(step.ran.times.seconds or 0)
    rows = [(name, jobs[name], show_duration(seconds[name])) for name in sorted(jobs)]
    return table(("Node", "Jobs", "Time of all"), rows, (1, 2))


def items_table(items: Sequence[Item], most: int = 500) -> Markup:
    """Return inputs or outputs."""
    rows = [
        (
            item.parameter,
            item.value,
            show_memory(item.size) if item.size is not None else _ABSENT if item.path else "",
            element("code", item.checksum or (_ABSENT if item.path else "")),
            item.path,
        )
        for item in items[:most]
    ]
    left = len(items) - len(rows)
    more = element("p", f"And {left} more.", class_="dim") if left else ""
    made = table(("Parameter", "Value", "Size", "Checksum", "Path"), rows, (2,))
    return joined((made, more))


def results(found: Sequence[Shown], captions: dict[str, str], beside: Path) -> Markup:
    """Return the outputs that can be shown; a link is relative to where the page is."""
    made = []
    for shown in found:
        item = shown.item
        cut = element("p", "Only the beginning.", class_="dim") if shown.is_cut else ""
        title = (
            item.parameter if item.value == item.parameter else f"{item.parameter}: {item.value}"
        )
        body: object
        if shown.is_page:
            relative = os.path.relpath(item.path, beside)
            body = element("p", element("a", item.value, href=quote(os.fsencode(relative))))
        elif shown.picture:
            body = Markup(f'<img src="{text(shown.picture)}" alt="{text(item.value)}">')
        elif len(shown.rows) > 1:
            body = table(shown.rows[0], shown.rows[1:])
        else:
            body = element("pre", shown.text)
        caption = captions.get(item.parameter, "")
        made.append(
            element(
                "div",
                element("h3", title),
                element("p", caption, class_="dim") if caption else "",
                body,
                cut,
                class_="result",
            )
        )
    return joined(made) if made else element("p", "None that can be shown.", class_="dim")


def run_facts(run: Run) -> Markup:
    """Return what ran where."""
    started = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(run.begin.started))
    rows: list[tuple[str, object]] = [
        ("workflow", run.begin.workflow),
        ("started", f"{started}, on {run.begin.host}"),
        ("run directory", run.begin.run_directory),
        *run.begin.facts.items(),
    ]
    return facts(rows)
