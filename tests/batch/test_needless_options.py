# SPDX-License-Identifier: Apache-2.0
"""Options that would be of no effect are refused; what a site has set for other runs is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Command

from cwl_udss.engine.options import extended_parser, refuse_needless_options
from cwl_udss.errors import SettingsError
from cwl_udss.settings.config import load_settings


def refusal(
    directory: Path, *options: str, site: str = "", environment: dict[str, str] | None = None
) -> str:
    """What is said about options; "" if they are taken."""
    (directory / "site").write_text(site)
    given = extended_parser().parse_args(["--udss", *options])
    settings = load_settings(vars(given), environment or {}, directory, directory / "site")
    try:
        refuse_needless_options(given, settings)
    except SettingsError as error:
        return str(error)
    return ""


JOBS = "is for steps that are jobs: add --udss-batch"
SLURM = ("--udss-batch", "slurm")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--udss-pilot",), f"--udss-pilot {JOBS}"),
        (("--udss-detach",), f"--udss-detach {JOBS}"),
        (("--udss-resume", "x"), f"--udss-resume {JOBS}"),
        (("--udss-batch-queue", "long"), f"--udss-batch-queue {JOBS}"),
        (("--udss-retries", "3"), f"--udss-retries {JOBS}"),
        (("--udss-runs", "x"), f"--udss-runs {JOBS}"),
        ((*SLURM, "--udss-pilot-cores", "2"), "--udss-pilot-cores is for a pilot"),
        ((*SLURM, "--udss-pilot", "--udss-batch-group", "2"), "--udss-batch-group is for jobs"),
        ((*SLURM, "--udss-batch-queue", "long", "--udss-runs", "x", "--udss-detach"), ""),
        ((*SLURM, "--udss-pilot", "--udss-pilot-cores", "2", "--udss-retries", "1"), ""),
    ],
)
def test_options(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    said = refusal(tmp_path, *options)
    assert said.startswith(message)
    assert bool(said) == bool(message)


def test_a_sites_defaults_are_for_other_runs(tmp_path: Path) -> None:
    site = 'batch_queue = "long"\nretries = "2"\npilot_cores = 4\nbatch_group = 3\n'
    assert refusal(tmp_path, site=site) == ""
    assert refusal(tmp_path, *SLURM, "--udss-pilot", site=site) == ""


def test_who_has_asked_for_a_pilot_is_named(tmp_path: Path) -> None:
    """Else the whole workflow would run on the login node."""
    assert f"a pilot, which {tmp_path / 'site'} asks for, {JOBS}" in refusal(
        tmp_path, site="pilot = true"
    )
    environment = {"CWL_UDSS_PILOT": "yes"}
    assert "which $CWL_UDSS_PILOT asks for" in refusal(tmp_path, environment=environment)
    environment["CWL_UDSS_BATCH"] = "slurm"
    assert refusal(tmp_path, environment=environment) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--udss-pilot",), f"--udss-pilot {JOBS}"),
        (("--udss-batch", "local"), "--udss-batch local needs --udss-pilot"),
        (("--udss-batch", "lsf"), "--udss-batch lsf needs --udss-pilot"),
        (("--udss-batch", "local", "--udss-pilot", "--udss-detach"), "--udss-detach is for jobs"),
    ],
)
def test_a_run_does_not_begin(
    run_command: Command, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    done = run_command("cwltool", "--udss", *options, "document-that-is-not-read.cwl")
    assert done.returncode == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
