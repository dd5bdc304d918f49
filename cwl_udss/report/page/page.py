# SPDX-License-Identifier: Apache-2.0
"""A run as one HTML file, which needs nothing else, and no network.

The scripts that are in it are named by their SHA-256 in a policy (Content Security Policy, level
3), so that the browser runs no other: nothing that a name has in it, and nothing that is evaluated.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path

from cwl_udss.report.analysis import by_step, critical_path, needs
from cwl_udss.report.page import sections
from cwl_udss.report.page.data import page_data
from cwl_udss.report.page.markup import Markup, element, joined, text
from cwl_udss.report.page.results import items, shown
from cwl_udss.report.record import Status
from cwl_udss.report.run import Run

_FILES = resources.files("cwl_udss.report.page")
_LIBRARIES = ("datatables.js", "echarts.js", "dagre.js")
_PARTS = (
    ("results", "Results"),
    ("workflow", "Workflow"),
    ("time", "Timeline"),
    ("needs", "Used and asked"),
    ("steps", "All steps"),
    ("images", "Images"),
    ("data-files", "Inputs and outputs"),
    ("about", "About the run"),
)


def make_page(run: Run, beside: Path) -> bytes:
    """Return the page; `beside` is the directory where it is going to be."""
    jobs = by_step(run.steps)
    critical = critical_path(run.steps, run.begin.nodes)
    on_path = {step.step for step in critical}
    outputs = items(run.end.outputs) if run.end else []
    inputs = items(run.end.inputs if run.end else run.begin.inputs)
    needed = [
        needs(step, some)
        for step, some in jobs.items()
        if any(job.status in (Status.COMPLETED, Status.FAILED) for job in some)
    ]
    parts = {
        "results": sections.results(shown(outputs), dict(run.begin.captions), beside),
        "workflow": joined((_chart("graph"), sections.workflow_table(run, jobs, on_path))),
        "time": joined((_ZOOM, _chart("timeline"), _CRITICAL)),
        "needs": joined((_PAIRS, _chart("memory"), sections.needs_table(needed))),
        "steps": _STEPS,
        "images": sections.images_table(run.steps),
        "data-files": joined(
            (
                element("h3", "Inputs"),
                sections.items_table(inputs),
                element("h3", "Outputs"),
                sections.items_table(outputs),
            )
        ),
        "about": joined(
            (
                element("h3", "To run it again"),
                element("pre", sections.command_line(run)),
                sections.run_facts(run),
                element("h3", "Nodes"),
                sections.nodes_table(run.steps),
            )
        ),
    }
    links = element("nav", *(element("a", name, href=f"#{id_}") for id_, name in _PARTS))
    body = [sections.head(run), links, sections.failure(run)]
    for id_, name in _PARTS:
        body.append(element("section", element("h2", name), parts[id_], id=id_))
    title = f"{sections.verdict(run)[1]}: {Path(run.begin.workflow).name or run.begin.workflow}"
    data = json.dumps(page_data(run, critical), separators=(",", ":"))
    return _document(title, joined(body), data).encode(errors="backslashreplace")


def _document(title: str, body: Markup, data: str) -> str:
    # The hash is of the text as it is between the tags, which may not end before it does.
    scripts = [_read(f"libraries/{name}").replace("</script", "<\\/script") for name in _LIBRARIES]
    scripts.append(_read("page.js"))
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    styles = _read("libraries/datatables.css") + _read("page.css")
    island = data.replace("<", "\\u003c")
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{text(title)}</title>\n<style>{styles}</style>\n</head>\n<body>\n",
            f'{body}\n<script type="application/json" id="data">{island}</script>\n',
            *(f"<script>{script}</script>\n" for script in scripts),
            "</body>\n</html>\n",
        )
    )


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _read(name: str) -> str:
    return _FILES.joinpath(name).read_text(encoding="utf-8")


def _chart(name: str) -> Markup:
    return element("div", id=name, class_="chart")


_ZOOM = element(
    "div",
    element("button", "Zoom in", id="zoom-in", type="button"),
    element("button", "Zoom out", id="zoom-out", type="button"),
    element("button", "All", id="zoom-all", type="button"),
    class_="bar",
)
_CRITICAL = element(
    "p",
    "Framed, and marked ◆ in tables: the steps that decided when the run was over. The same times "
    "are in the table of ",
    element("a", "all steps", href="#steps"),
    ".",
    class_="dim",
)
_PAIRS = element(
    "p",
    "Of time, memory and cores the median of a step's jobs, and the most. Memory is that of all "
    "processes together; the diamond is what was asked for.",
    class_="dim",
)
_STATUSES = [element("option", "all", value="")] + [
    element("option", status.value, value=status.value) for status in Status
]
_STEPS = joined(
    (
        element(
            "div",
            element("label", "Status ", element("select", *_STATUSES, id="status-filter")),
            class_="bar",
        ),
        element(
            "div",
            element("table", id="steps-table", class_="display compact"),
            class_="wide",
        ),
    )
)
