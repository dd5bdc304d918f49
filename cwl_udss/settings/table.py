# SPDX-License-Identifier: Apache-2.0
"""Every setting: its name, what it means, its default. config.py finds their values."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwl_udss.images.formats.names import Compression, ImageFormat
from cwl_udss.machine.user_directories import user_cache
from cwl_udss.settings.quantities import (
    AMOUNTS,
    parse_count,
    parse_factor,
    parse_memory,
    parse_positive,
    parse_rate,
    parse_size,
    parse_time,
    parse_words,
    show_memory,
    show_number,
    show_size,
    show_time,
)

DEFAULT = "default"
"""Where the value of a setting comes from that nothing sets."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set; each field is an option `--udss-NAME`, a variable `CWL_UDSS_NAME` and a key
    of the configuration files."""

    store: Path
    """Directory of the converted images."""
    library: tuple[Path, ...]
    """Other stores, only read, looked into before that."""
    offline: bool
    """Never use the network."""
    format: ImageFormat | None
    """Of new images; None chooses by the store's filesystem."""
    compression: Compression
    keep_layers: bool
    """Keep the layers that were downloaded."""
    scratch: Path | None
    """A directory on this node; None looks for one."""
    scratch_images: int
    """How many bytes unpacked images may take there."""
    bwrap: str | None
    """The `bwrap` program to use; None looks for one."""
    trace: Path | None
    """A file to write where the driver's time goes; None writes none."""
    batch: str | None
    """The batch system that runs the steps; None runs them here."""
    runs: Path
    """Directory of the runs whose steps are jobs, seen by all nodes."""
    batch_queue: str | None
    batch_account: str | None
    batch_project: str | None
    batch_options: tuple[str, ...]
    batch_chunk: str
    batch_select: bool
    batch_name: str
    batch_cores: int | None
    """Of steps that say nothing; so are `batch_memory` (MiB) and `batch_walltime` (seconds)."""
    batch_memory: int | None
    batch_walltime: int | None
    batch_jobs: int
    """How many may be in the queue at once."""
    batch_rate: float
    """How many may be submitted in a second."""
    batch_group: int
    """How many steps go into one job."""
    pilot: bool
    """Steps run inside allocations that stay."""
    pilot_nodes: int
    """Of an allocation."""
    pilot_allocations: int
    """How many at the most."""
    pilot_cores: int
    """Of a worker, which runs one step at a time."""
    retries: int
    retry_scale: float
    origins: Mapping[str, str]
    """Where each value came from, for `cwl-udss doctor`."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one of them is set."""

    name: str
    help: str
    default: Callable[[Mapping[str, str], Path], Any]
    convert: Callable[[str], Any]
    """Raises ValueError with what would be right."""
    show: Callable[[Any], str] = str
    """Writes a value such that `convert` gives it again."""
    metavar: str = ""
    is_flag: bool = False
    """Is given by the option alone."""
    is_list: bool = False
    """The option may be repeated."""
    is_driver: bool = False
    """Only matters to a driver."""
    is_batch: bool = False
    """Only matters where steps are jobs."""

    @property
    def is_amount(self) -> bool:
        """Whether a mere number may stand in a file."""
        return self.convert in AMOUNTS

    @property
    def option(self) -> str:
        """As typed."""
        return f"--udss-{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """In the environment."""
        return f"CWL_UDSS_{self.name.upper()}"

    @property
    def attribute(self) -> str:
        """As argparse has it."""
        return f"udss_{self.name}"


def _default(value: Any) -> Callable[[Mapping[str, str], Path], Any]:
    return lambda environment, home: value


def _path(text: str) -> Path:
    return Path(text).absolute()


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(_path(part) for part in text.split(":") if part)


def _show_paths(paths: tuple[Path, ...]) -> str:
    return ":".join(map(str, paths))


def _yes_or_no(text: str) -> bool:
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError("it must be yes or no") from None


def _show_yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _one_of(*words: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in words:
            raise ValueError(f"it must be {', '.join(words[:-1])} or {words[-1]}")
        return text

    return convert


def _format(text: str) -> ImageFormat | None:
    if text == "auto":
        return None
    try:
        return ImageFormat(text)
    except ValueError:
        raise ValueError("it must be auto, directory or squashfs") from None


def _show_format(value: ImageFormat | None) -> str:
    return "auto" if value is None else value.value


def _compression(text: str) -> Compression:
    try:
        return Compression(text)
    except ValueError:
        raise ValueError("it must be zstd or gzip") from None


def _show_compression(value: Compression) -> str:
    return value.value


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="store",
        metavar="DIR",
        help="keep converted images in DIR (default: ~/.cache/cwl-udss)",
        default=user_cache,
        convert=_path,
    ),
    Setting(
        name="library",
        metavar="DIR[:DIR...]",
        help="use the images of these stores first; they are only read",
        default=_default(()),
        convert=_paths,
        show=_show_paths,
        is_list=True,
    ),
    Setting(
        name="offline",
        help="never use the network; say at the start which images are missing",
        default=_default(False),
        convert=_yes_or_no,
        show=_show_yes_or_no,
        is_flag=True,
    ),
    Setting(
        name="format",
        metavar="FORMAT",
        help="keep new images as a `directory` or as one `squashfs` file (default: auto, a file if "
        "the store is on a network filesystem)",
        default=_default(None),
        convert=_format,
        show=_show_format,
    ),
    Setting(
        name="compression",
        metavar="NAME",
        help="compress squashfs files with zstd or gzip (default: zstd; gzip is for old readers)",
        default=_default(Compression.ZSTD),
        convert=_compression,
        show=_show_compression,
    ),
    Setting(
        name="keep_layers",
        help="keep downloaded layers in the store, so that images which share some need less",
        default=_default(False),
        convert=_yes_or_no,
        show=_show_yes_or_no,
        is_flag=True,
    ),
    Setting(
        name="scratch",
        metavar="DIR",
        help="a directory on this node for images in use and for the steps' own directories "
        "(default: the first of $TMPDIR, $PBS_JOBFS, $SLURM_TMPDIR, /tmp that is local)",
        default=_default(None),
        convert=_path,
    ),
    Setting(
        name="scratch_images",
        metavar="SIZE",
        help="let images that had to be unpacked take SIZE there at most (default: 20G)",
        default=_default(20 << 30),
        convert=parse_size,
        show=show_size,
    ),
    Setting(
        name="bwrap",
        metavar="PROGRAM",
        help="make sandboxes with this bwrap (default: the one on PATH if it works here, else the "
        "one that was installed with cwl-udss)",
        default=_default(None),
        convert=str,
    ),
    Setting(
        name="trace",
        metavar="FILE",
        help="write where the driver's time goes, for https://ui.perfetto.dev",
        default=_default(None),
        convert=_path,
        is_driver=True,
    ),
    Setting(
        name="batch",
        metavar="SYSTEM",
        help="run each step as a job of the batch system, `pbs` or `slurm`; with --udss-pilot also "
        "`lsf`, or `local` in an allocation that is there already",
        default=_default(None),
        convert=_one_of("pbs", "slurm", "lsf", "local"),
        is_batch=True,
    ),
    Setting(
        name="runs",
        metavar="DIR",
        help="keep what belongs to such runs in DIR, which all nodes must see "
        "(default: ./cwl-udss-runs)",
        default=lambda environment, home: Path("cwl-udss-runs").absolute(),
        convert=_path,
        is_batch=True,
    ),
    Setting(
        name="batch_queue",
        metavar="NAME",
        help="submit to this queue, or partition",
        default=_default(None),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_account",
        metavar="NAME",
        help="charge this account",
        default=_default(None),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_project",
        metavar="NAME",
        help="submit for this project (qsub -P)",
        default=_default(None),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_options",
        metavar="WORDS",
        help="pass these words on to qsub or sbatch, as in a shell",
        default=_default(()),
        convert=parse_words,
        show=shlex.join,
        is_batch=True,
    ),
    Setting(
        name="batch_chunk",
        metavar="RESOURCES",
        help="ask PBS for these resources, too, in the chunk of a job (scratch=10gb:cpu_type=rome)",
        default=_default(""),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_select",
        metavar="yes|no",
        help="ask PBS by `-l select=`, else by `-l ncpus=,mem=`, as some sites want it "
        "(default: yes)",
        default=_default(True),
        convert=_yes_or_no,
        show=_show_yes_or_no,
        is_batch=True,
    ),
    Setting(
        name="batch_name",
        metavar="PREFIX",
        help="begin the names of jobs with PREFIX",
        default=_default(""),
        convert=str,
        is_batch=True,
    ),
    Setting(
        name="batch_cores",
        metavar="N",
        help="ask for N cores for steps that do not say how many they need (default: 1)",
        default=_default(None),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="batch_memory",
        metavar="SIZE",
        help="ask for SIZE of memory for steps that do not say what they need, 4G "
        "(default: the site's)",
        default=_default(None),
        convert=parse_memory,
        show=show_memory,
        is_batch=True,
    ),
    Setting(
        name="batch_walltime",
        metavar="TIME",
        help="ask for TIME for steps without a ToolTimeLimit, 12h or 1:30:00 (default: the site's)",
        default=_default(None),
        convert=parse_time,
        show=show_time,
        is_batch=True,
    ),
    Setting(
        name="batch_jobs",
        metavar="N",
        help="have at most N jobs in the queue at once (default: 200)",
        default=_default(200),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="batch_rate",
        metavar="N",
        help="submit at most N jobs a second (default: 10)",
        default=_default(10.0),
        convert=parse_rate,
        show=show_number,
        is_batch=True,
    ),
    Setting(
        name="batch_group",
        metavar="N",
        help="put up to N steps of like size into one job, which runs them one after the other "
        "(default: 1)",
        default=_default(1),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="pilot",
        help="run steps inside allocations that stay, by Parsl; for many short ones (an allocation "
        "has --udss-batch-cores, -memory and -walltime)",
        default=_default(False),
        convert=_yes_or_no,
        show=_show_yes_or_no,
        is_flag=True,
        is_batch=True,
    ),
    Setting(
        name="pilot_nodes",
        metavar="N",
        help="have N nodes in an allocation (default: 1)",
        default=_default(1),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="pilot_allocations",
        metavar="N",
        help="have at most N allocations (default: 1)",
        default=_default(1),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="pilot_cores",
        metavar="N",
        help="have N cores for each step in an allocation (default: 1)",
        default=_default(1),
        convert=parse_positive,
        is_batch=True,
    ),
    Setting(
        name="retries",
        metavar="N",
        help="run a step up to N times more if its node was lost, or it has failed with one of its "
        "temporaryFailCodes (default: 0)",
        default=_default(0),
        convert=parse_count,
        is_batch=True,
    ),
    Setting(
        name="retry_scale",
        metavar="FACTOR",
        help="try steps again that were killed for their memory or walltime, too, with FACTOR "
        "times as much (default: 1, do not)",
        default=_default(1.0),
        convert=parse_factor,
        show=show_number,
        is_batch=True,
    ),
)
