# SPDX-License-Identifier: Apache-2.0
"""What a step asks for: by CWL, by the hint, by the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cwl_udss.batch.systems.system import BatchError
from cwl_udss.batch.wishes import Said, make_wish
from cwl_udss.settings.config import load_settings
from cwl_udss.settings.settings import Settings

NOTHING = Said(cores=None, memory=None, time_limit=None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "config.toml"
    file.write_text(
        'batch = "pbs"\nbatch_queue = "normal"\nbatch_memory = "2G"\nbatch_walltime = "1h"\n'
        "batch_cores = 2\nretries = 1\n"
    )
    return load_settings({}, {"CWL_UDSS_CONFIG": str(file)}, tmp_path)


def test_settings_are_for_steps_that_say_nothing(settings: Settings) -> None:
    wish = make_wish(NOTHING, {}, settings)
    asked = wish.resources
    assert (asked.cores, asked.memory, asked.walltime) == (2, 2048, 3600)
    assert (wish.placement.queue, wish.retries, wish.retry_scale) == ("normal", 1, 1.0)


def test_what_cwl_says_goes_before_settings(settings: Settings) -> None:
    asked = make_wish(Said(cores=3.5, memory=512, time_limit=60), {}, settings).resources
    assert (asked.cores, asked.memory) == (4, 512)
    # The tool's own limit comes first, and leaves its node time to say so.
    assert asked.walltime is not None
    assert 60 < asked.walltime <= 300


def test_the_hint_goes_before_all(settings: Settings) -> None:
    hint = {
        "class": "urn:cwl-udss:Batch",
        "urn:cwl-udss:queue": "long",
        "memory": "8G",
        "walltime": "2:00:00",
        "cores": 16,
        "options": ["-l", "place=excl"],
        "retries": 3,
        "retryScale": 2,
    }
    wish = make_wish(Said(cores=1, memory=512, time_limit=60), hint, settings)
    asked = wish.resources
    assert (asked.cores, asked.memory, asked.walltime) == (16, 8192, 7200)
    assert (wish.placement.queue, wish.placement.options) == ("long", ("-l", "place=excl"))
    assert (wish.retries, wish.retry_scale) == (3, 2.0)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        ({"quue": "long"}, "did you mean 'queue'"),
        ({"walltime": "soon"}, "must be a time"),
        ({"cores": 0}, "at least 1"),
        ({"memory": "much"}, "amount of memory"),
    ],
)
def test_a_hint_that_means_nothing(hint: dict[str, Any], words: str, settings: Settings) -> None:
    with pytest.raises(BatchError, match=words):
        make_wish(NOTHING, hint, settings)
