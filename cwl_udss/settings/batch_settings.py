# SPDX-License-Identifier: Apache-2.0
"""The settings of runs whose steps are jobs of a batch system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cwl_udss.machine.quantities import (
    parse_count,
    parse_factor,
    parse_memory,
    parse_positive,
    parse_rate,
    parse_time,
    parse_words,
    show_memory,
    show_number,
    show_time,
    show_words,
)
from cwl_udss.settings.setting import (
    Setting,
    always,
    one_of,
    parse_path,
    parse_yes_or_no,
    show_yes_or_no,
)


def _runs(environment: Mapping[str, str], home: Path) -> Path:
    try:
        return Path("cwl-udss-runs").absolute()
    except FileNotFoundError:
        # Nextflow removes its scratch directory, and has `docker rm` called in it. Who is nowhere
        # starts no run of ours.
        return home / "cwl-udss-runs"


BATCH_SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="batch",
        metavar="SYSTEM",
        help="run each step as a job of the batch system, `pbs` or `slurm`; with --udss-pilot also "
        "`lsf`, or `local` in an allocation that is there already",
        default=always(None),
        convert=one_of("pbs", "slurm", "lsf", "local"),
        is_batch=True,
    ),
    Setting(
        name="runs",
        metavar="DIR",
        help="keep what belongs to such runs in DIR, which all nodes must see "
        "(default: ./cwl-udss-runs)",
        default=_runs,
        convert=parse_path,
        is_batch=True,
    ),
    Setting(
        name="batch_queue",
        metavar="NAME",
        help="submit to this queue, or partition",
        default=always(None),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_account",
        metavar="NAME",
        help="charge this account",
        default=always(None),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_project",
        metavar="NAME",
        help="submit for this project (qsub -P)",
        default=always(None),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_options",
        metavar="WORDS",
        help="pass these words on to qsub or sbatch, as in a shell",
        default=always(()),
        convert=parse_words,
        show=show_words,
        is_batch=True,
    ),
    Setting(
        name="batch_chunk",
        metavar="RESOURCES",
        help="ask PBS for these resources, too, in the chunk of a job (scratch=10gb:cpu_type=rome)",
        default=always(""),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_select",
        metavar="yes|no",
        help="ask PBS by `-l select=`, else by `-l ncpus=,mem=`, as some sites want it "
        "(default: yes)",
        default=always(True),
        convert=parse_yes_or_no,
        show=show_yes_or_no,
        is_batch=True,
    ),
    Setting(
        name="batch_name",
        metavar="PREFIX",
        help="begin the names of jobs with PREFIX",
        default=always(""),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_cores",
        metavar="N",
        help="ask for N cores for steps that do not say how many they need (default: 1)",
        default=always(None),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="batch_memory",
        metavar="SIZE",
        help="ask for SIZE of memory for steps that do not say what they need, 4G "
        "(default: the site's)",
        default=always(None),
        convert=parse_memory,
        show=show_memory,
        is_batch=True,
    ),
    Setting(
        name="batch_walltime",
        metavar="TIME",
        help="ask for TIME for steps without a ToolTimeLimit, 12h or 1:30:00 (default: the site's)",
        default=always(None),
        convert=parse_time,
        show=show_time,
        is_batch=True,
    ),
    Setting(
        name="batch_jobs",
        metavar="N",
        help="have at most N jobs in the queue at once (default: 200)",
        default=always(200),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="batch_rate",
        metavar="N",
        help="submit at most N jobs a second (default: 10)",
        default=always(10.0),
        convert=parse_rate,
        show=show_number,
        is_batch=True,
    ),
    Setting(
        name="batch_group",
        metavar="N",
        help="put up to N steps of like size into one job, which runs them one after the other "
        "(default: 1)",
        default=always(1),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="pilot",
        help="run steps inside allocations that stay, by Parsl; for many short ones (an allocation "
        "has --udss-batch-cores, -memory and -walltime)",
        default=always(False),
        convert=parse_yes_or_no,
        show=show_yes_or_no,
        is_flag=True,
        is_batch=True,
    ),
    Setting(
        name="pilot_nodes",
        metavar="N",
        help="have N nodes in an allocation (default: 1)",
        default=always(1),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="pilot_allocations",
        metavar="N",
        help="have at most N allocations (default: 1)",
        default=always(1),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="pilot_cores",
        metavar="N",
        help="have N cores for each step in an allocation (default: 1)",
        default=always(1),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="retries",
        metavar="N",
        help="run a step up to N times more if its node was lost, or it has failed with one of its "
        "temporaryFailCodes (default: 0)",
        default=always(0),
        convert=parse_count,
        is_batch=True,
    ),
    Setting(
        name="retry_scale",
        metavar="FACTOR",
        help="try steps again that were killed for their memory or walltime, too, with FACTOR "
        "times as much (default: 1, do not)",
        default=always(1.0),
        convert=parse_factor,
        show=show_number,
        is_batch=True,
    ),
)
