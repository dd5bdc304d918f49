# SPDX-License-Identifier: Apache-2.0
"""Every setting: its name, what it means, its default. config.py finds their values."""

from __future__ import annotations

from cwl_udss.images.formats.names import Compression
from cwl_udss.images.libraries.trust import Trust
from cwl_udss.machine.quantities import parse_size, show_size
from cwl_udss.machine.user_directories import user_cache
from cwl_udss.runtimes.choosing.table import AUTO, RUNTIMES
from cwl_udss.runtimes.limits import LIMITS, WEAKNESSES
from cwl_udss.settings.batch_settings import BATCH_SETTINGS
from cwl_udss.settings.setting import (
    Setting,
    always,
    join_list,
    one_of,
    parse_compression,
    parse_format,
    parse_limited,
    parse_path,
    parse_paths,
    parse_places,
    parse_trust,
    parse_yes_or_no,
    show_compression,
    show_format,
    show_limited,
    show_paths,
    show_places,
    show_trust,
    show_yes_or_no,
    some_of,
)

_SETTINGS_OF_ALL_RUNS: tuple[Setting, ...] = (
    Setting(
        name="store",
        metavar="DIR",
        help="keep converted images in DIR (default: ~/.cache/cwl-udss)",
        default=user_cache,
        convert=parse_path,
    ),
    Setting(
        name="library",
        metavar="[NAMING:]DIR",
        help="use the images that are there, before any registry is asked; of another store of "
        "cwl-udss, or as cwltool, nextflow, galaxy-cvmfs or another program names them (again and "
        "again, or with commas between)",
        default=always(()),
        convert=parse_places,
        show=show_places,
        is_list=True,
    ),
    Setting(
        name="library_trust",
        metavar="PROOF",
        help="use an image that somebody else has made if its `name` is right, or only where "
        "something proves its `digest` (default: name)",
        default=always(Trust.NAME),
        convert=parse_trust,
        show=show_trust,
    ),
    Setting(
        name="known_libraries",
        metavar="yes|no",
        help="look where other programs keep images, too, as their own variables say, and below "
        "/cvmfs (default: yes)",
        default=always(True),
        convert=parse_yes_or_no,
        show=show_yes_or_no,
    ),
    Setting(
        name="offline",
        help="never use the network; say at the start which images are missing",
        default=always(False),
        convert=parse_yes_or_no,
        show=show_yes_or_no,
        is_flag=True,
    ),
    Setting(
        name="format",
        metavar="FORMAT",
        help="keep new images as a `directory` or as one `squashfs` file (default: auto, a file if "
        "the store is on a network filesystem)",
        default=always(None),
        convert=parse_format,
        show=show_format,
    ),
    Setting(
        name="compression",
        metavar="NAME",
        help="compress squashfs files with zstd or gzip (default: zstd; gzip is for old readers)",
        default=always(Compression.ZSTD),
        convert=parse_compression,
        show=show_compression,
    ),
    Setting(
        name="keep_layers",
        help="keep downloaded layers in the store, so that images which share some need less",
        default=always(False),
        convert=parse_yes_or_no,
        show=show_yes_or_no,
        is_flag=True,
    ),
    Setting(
        name="scratch",
        metavar="DIR",
        help="a directory on this node for images in use and for the steps' own directories "
        "(default: the first of $TMPDIR, $PBS_JOBFS, $SLURM_TMPDIR, /tmp that is local)",
        default=always(None),
        convert=parse_path,
    ),
    Setting(
        name="scratch_images",
        metavar="SIZE",
        help="let images that had to be unpacked take SIZE there at most (default: 20G)",
        default=always(20 << 30),
        convert=parse_size,
        show=show_size,
    ),
    Setting(
        name="runtime",
        metavar="NAME",
        help=f"make sandboxes with NAME: {', '.join(RUNTIMES)} (default: {AUTO}, the first that "
        "keeps all that is promised of a sandbox, by trying it here)",
        default=always(AUTO),
        convert=one_of(AUTO, *RUNTIMES),
    ),
    Setting(
        name="accept",
        metavar="NAME[,NAME...]",
        help="use a runtime although it has these weaknesses, as `cwl-udss doctor` names them",
        default=always(()),
        convert=some_of(*(limit.name for limit in WEAKNESSES)),
        show=join_list,
        is_list=True,
    ),
    Setting(
        name="required",
        metavar="NAME[,NAME...]",
        help="never use a runtime that has these limits, whatever is accepted; for the file "
        "of a site, which always counts",
        default=always({}),
        convert=some_of(*(limit.name for limit in LIMITS)),
        show=join_list,
        is_list=True,
        adds_up=True,
    ),
    Setting(
        name="readable",
        metavar="DIR[,DIR...]",
        help="with the runtime landlock, let tools without an image read these, besides the system "
        "and what is on PATH: where a site has its modules, say",
        default=always(()),
        convert=parse_paths,
        show=show_paths,
        is_list=True,
    ),
    Setting(
        name="bwrap",
        metavar="PROGRAM",
        help="make sandboxes with this bwrap (default: the one on PATH if it works here, else the "
        "one that was installed with cwl-udss)",
        default=always(None),
        convert=str,
    ),
    Setting(
        name="door_hide",
        metavar="NAME[,NAME...]",
        help="have `apptainer`, `singularity` and `udocker` show commands no `home`, `cwd`, `tmp` "
        "or `network` of this machine that no option asks for (default: as those programs do)",
        default=always(()),
        convert=some_of("home", "cwd", "tmp", "network"),
        show=join_list,
        is_list=True,
    ),
    Setting(
        name="limit",
        metavar="WHAT",
        help="end a step of this machine that uses more `memory` than it asks for, and give it no "
        "more `cores` (both with a comma between; default: no)",
        default=always(()),
        convert=parse_limited,
        show=show_limited,
        is_list=True,
        is_driver=True,
    ),
    Setting(
        name="report",
        metavar="FILE",
        help="write what the run has done as one page, FILE.html, when it has ended",
        default=always(None),
        convert=parse_path,
        is_driver=True,
    ),
    Setting(
        name="trace_table",
        metavar="FILE",
        help="write a line for each step that has ended, with Nextflow's columns",
        default=always(None),
        convert=parse_path,
        is_driver=True,
    ),
    Setting(
        name="trace_raw",
        help="write bytes and milliseconds there, as numbers",
        default=always(False),
        convert=parse_yes_or_no,
        show=show_yes_or_no,
        is_flag=True,
        is_driver=True,
    ),
    Setting(
        name="trace_events",
        metavar="FILE",
        help="write where the driver's time goes, for https://ui.perfetto.dev",
        default=always(None),
        convert=parse_path,
        is_driver=True,
    ),
)

SETTINGS = (*_SETTINGS_OF_ALL_RUNS, *BATCH_SETTINGS)
