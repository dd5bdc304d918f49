# SPDX-License-Identifier: Apache-2.0
"""What it costs to have steps run as jobs: against the batch system alone, and for the driver.

Needs what the tests of batch runs need (Slurm, Parsl), and runs a Slurm of its own.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure import (
    COMMANDS,
    Finding,
    Setting,
    input_object,
    print_findings,
    print_rows,
    print_table,
    ratio,
    run,
    run_in_turn,
    setting,
)

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "batch")]
from pbs_stand_in import serve_pbs  # noqa: E402
from slurm import serve_slurm  # noqa: E402

STEPS = 200
AT_ONCE = 8
PILOT_STEPS = 400
DRIVER_STEPS = (1000, 10_000)
YARDSTICK = "sbatch --array"
OURS = "cwltool --udss-batch slurm"
WORKFLOW = Path(__file__).parent / "workflows" / "sleep-many.cwl"
# Runs the driver and says what it alone has used, without the commands of the batch system.
MEASURED = """
import json, resource, sys
from cwl_udss.engine.startup.pure import prefer_python_modules
prefer_python_modules("cwltool")
from cwl_udss.engine import driver
code = driver.run(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_SELF)
with open(sys.argv[1], "w") as file:
    json.dump({"cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024}, file)
sys.exit(code)
"""


def main() -> list[Finding]:
    """Print the tables."""
    with setting() as here:
        return [_against_slurm(here), _pilot(here), _driver(here)]


def _cwltool(here: Setting, steps: int, seconds: float, *options: str) -> list[str | Path]:
    command: list[str | Path] = [COMMANDS / "cwltool", "--udss", "--quiet", *options]
    command += ["--outdir", here.scratch / "out", "--udss-runs", here.scratch / "runs"]
    return [*command, WORKFLOW, input_object(here, steps, seconds)]


def _against_slurm(here: Setting) -> Finding:
    directory = Path(tempfile.mkdtemp(prefix="b", dir="/dev/shm"))
    try:
        with serve_slurm(directory, cpus=AT_ONCE // 2) as slurm:
            environment = {**here.environment, **slurm.environment}
            array = ["sbatch", "--wait", f"--array=0-{STEPS - 1}", "--output=/dev/null"]
            commands: Mapping[str, Sequence[str | Path]] = {
                YARDSTICK: [*array, "--wrap=sleep 1"],
                OURS: _cwltool(here, STEPS, 1, "--udss-batch", "slurm"),
            }
            results = run_in_turn(commands, environment)
    finally:
        shutil.rmtree(directory)
    title = f"{STEPS} steps of 1 s on Slurm, {AT_ONCE} at a time"
    print_table(title, results, YARDSTICK)
    return Finding(f"{title}: × {YARDSTICK}", ratio(results[OURS], results[YARDSTICK]), 1.15)


def _pilot(here: Setting) -> Finding:
    options = ("--udss-batch", "local", "--udss-pilot")
    commands = {
        "1 step": _cwltool(here, 1, 0, *options),
        f"{PILOT_STEPS} steps": _cwltool(here, PILOT_STEPS, 0, *options),
    }
    results = run_in_turn(commands, here.environment)
    print_table("steps that do nothing, in a pilot on this machine", results, "1 step")
    rate = statistics.median(
        (PILOT_STEPS - 1) / (several.seconds - single.seconds)
        for single, several in zip(*results.values(), strict=True)
    )
    return Finding("steps a second in a pilot", rate, 20, at_least=True)


def _driver(here: Setting) -> Finding:
    """What the driver itself uses for a step, when jobs end at once."""
    instant = Path(__file__).with_name("instant_jobs.py")
    rows = []
    for steps in DRIVER_STEPS:
        directory = Path(tempfile.mkdtemp(prefix="b", dir="/dev/shm"))
        try:
            with serve_pbs(directory / "pbs", instant=instant, time_scale=0.01) as pbs:
                environment = {**here.environment, **pbs.environment}
                report = here.scratch / "report.json"
                options = ("--udss-batch", "pbs", "--udss-batch-rate", "1000")
                command = _cwltool(here, steps, 0, *options)[1:]
                run([sys.executable, "-c", MEASURED, report, *command], environment)
                used = json.loads(report.read_text())
                milliseconds = 1000 * used["cpu"] / steps
                figures = (f"{milliseconds:.1f}", f"{used['memory']:.0f}")
                rows.append((f"{steps:,}", *figures, f"{dict(pbs.counts())}"))
        finally:
            shutil.rmtree(directory)
    headings = ("steps", "own CPU ms a step", "MB", "commands of the batch system")
    print_rows("what the driver uses, when jobs end at once", headings, rows)
    return Finding("the driver's own processor time for a step as a job", milliseconds, 10, " ms")


if __name__ == "__main__":
    print_findings(main())
