# SPDX-License-Identifier: Apache-2.0
"""What qstat and pbsnodes say of queues and nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pbs_access import Access
from pbs_batch import Batch
from pbs_calls import Call, Output
from pbs_format import header, to_json
from pbs_options import misused, parse
from pbs_settings import SERVER, PbsQueue

_STATES = {
    "Transit": "T",
    "Queued": "Q",
    "Held": "H",
    "Waiting": "W",
    "Running": "R",
    "Exiting": "E",
    "Begun": "B",
}
_TABLE = """\
Queue              Max   Tot Ena Str   Que   Run   Hld   Wat   Trn   Ext Type
---------------- ----- ----- --- --- ----- ----- ----- ----- ----- ----- ----
"""


def queues(batch: Batch, names: Sequence[str], form: str, *, full: bool) -> Output:
    """What `qstat -Q` prints."""
    known = {queue.name: queue for queue in batch.settings.queues}
    output = Output()
    for name in names:
        if name not in known:
            output.fail(f"qstat: Unknown queue {name}", 15018)
    chosen = [known[name] for name in names or known if name in known]
    if not full:
        output.out = _TABLE + "".join(_row(batch, queue) for queue in chosen)
    elif form == "json":
        document = header(SERVER)
        if chosen:
            document["Queue"] = {queue.name: _describe(batch, queue) for queue in chosen}
        output.out = to_json(document, batch.settings.dialect)
    else:
        for queue in chosen:
            output.out += f"Queue: {queue.name}\n"
            for name, value in _describe(batch, queue).items():
                parts = value if isinstance(value, dict) else {"": value}
                for resource, text in parts.items():
                    output.out += f"    {name}{'.' if resource else ''}{resource} = {text}\n"
            output.out += "\n"
    return output


def _counts(batch: Batch, queue: PbsQueue) -> dict[str, int]:
    states = [job.state for job in batch.all(history=False) if job.queue == queue.name]
    return {name: states.count(letter) for name, letter in _STATES.items()}


def _row(batch: Batch, queue: PbsQueue) -> str:
    counts = _counts(batch, queue)
    total = sum(counts.values())
    order = ("Queued", "Running", "Held", "Waiting", "Transit", "Exiting")
    numbers = " ".join(f"{counts[name]:>5}" for name in order)
    enabled = "yes" if queue.enabled else "no"
    return f"{queue.name:<16} {0:>5} {total:>5} {enabled:>3} yes {numbers} Exe*\n"


def _describe(batch: Batch, queue: PbsQueue) -> dict[str, Any]:
    counts = _counts(batch, queue)
    description: dict[str, Any] = {
        "queue_type": "Execution",
        "total_jobs": str(sum(counts.values())),
        "state_count": "".join(f"{name}:{count} " for name, count in counts.items()),
    }
    if queue.max_walltime is not None:
        description["resources_max"] = {"walltime": queue.max_walltime}
    if queue.default_walltime is not None:
        description["resources_default"] = {"walltime": queue.default_walltime}
    return {**description, "enabled": str(queue.enabled), "started": "True"}


async def pbsnodes(batch: Batch, access: Access, call: Call) -> Output:
    """Print all nodes as JSON, which is all that is needed of it."""
    _, _, complaints = parse("pbsnodes", call.arguments)
    if complaints:
        raise misused("pbsnodes", complaints)
    await access.connect(call)
    nodes = {}
    for state in batch.nodes:
        node = state.node
        busy = state.used["ncpus"] >= node.ncpus
        amounts = {"mem": node.mem, "ncpus": str(node.ncpus)}
        if node.ngpus is not None:
            amounts["ngpus"] = str(node.ngpus)
        nodes[node.name] = {
            "Mom": node.name,
            "ntype": "PBS",
            "state": ("job-busy" if busy else "free") if state.up else "down",
            "resources_available": {
                "arch": "linux",
                "host": node.name,
                **amounts,
                "vnode": node.name,
            },
            "resources_assigned": {name: str(used) for name, used in state.used.items() if used},
        }
    document = {**header(SERVER), "nodes": nodes}
    return Output(out=to_json(document, batch.settings.dialect))
