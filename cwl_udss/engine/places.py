# SPDX-License-Identifier: Apache-2.0
"""Where the steps of a run on this machine work: where the person has said by cwltool's options,
else in the scratch directory."""

from __future__ import annotations

import argparse
import contextlib
import enum
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cwltool.executors
from cwltool.context import RuntimeContext

from cwl_udss.files.scratch import lasting_directory, run_directory

_logger = logging.getLogger(__name__)

_PREFIXES = ("tmpdir_prefix", "tmp_outdir_prefix")


class Place(enum.Enum):
    """Where directories of steps are."""

    SAID = "where cwltool makes them by its own options"
    RUN = "in the run's directory, gone with it"
    LEFT = "in a scratch directory that stays"
    CACHE = "in the cache, where what they hold is kept by a rename"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the two directories of each step are."""

    tmpdir: Place
    outdir: Place


def given_prefixes(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> frozenset[str]:
    """Return which of cwltool's two prefixes the person has given, be it as their defaults."""
    # argparse gives no default to what is there already.
    nothing = argparse.Namespace(**dict.fromkeys(_PREFIXES))
    options, _ = parser.parse_known_args(arguments, nothing)
    return frozenset(name for name in _PREFIXES if getattr(options, name) is not None)


def choose_places(
    given: Collection[str], *, removes: bool, leaves_outputs: bool, has_cache: bool
) -> Places:
    """Decide. `removes` says that nobody is going to look into directories of steps that have
    ended, `leaves_outputs` that outputs stay where they were made: inputs that were downloaded may
    be among them."""
    ours = Place.RUN if removes and not leaves_outputs else Place.LEFT
    tmpdir = Place.SAID if "tmpdir_prefix" in given else ours
    if has_cache:
        outdir = Place.CACHE if removes and not leaves_outputs else Place.SAID
    elif given:  # --tmp-outdir-prefix "defaults to the value of --tmpdir-prefix"
        outdir = Place.SAID
    else:
        outdir = ours
    return Places(tmpdir=tmpdir, outdir=outdir)


def place_steps(
    places: Places,
    context: RuntimeContext,
    scratch: Sequence[Path],
    needed_bytes: int,
    cache: Path | None,
) -> contextlib.ExitStack:
    """Have cwltool make the directories there; what is returned removes what is to be removed.

    Raises StoreError.
    """
    with contextlib.ExitStack() as stack:
        made: dict[Place, Path] = {}
        if cache is not None:
            made[Place.CACHE] = cache
        for name, place in zip(_PREFIXES, (places.tmpdir, places.outdir), strict=True):
            if place is Place.SAID:
                continue
            if place not in made and place is Place.RUN:
                made[place] = stack.enter_context(run_directory(scratch, needed_bytes))
            elif place not in made:
                made[place] = lasting_directory(scratch, needed_bytes)
                _logger.info("what the steps leave stays in %s", made[place])
            setattr(context, name, f"{made[place]}/")
        return stack.pop_all()


def keep_outputs() -> None:
    """Have cwltool not remove outputs, which it was told to leave (--leave-outputs, 3.1 to 3.3) or
    which may be needed: it removes the directories of all steps, whether they were moved or not."""
    vars(cwltool.executors)["cleanIntermediate"] = lambda directories: None
