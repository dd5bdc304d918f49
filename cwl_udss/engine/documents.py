# SPDX-License-Identifier: Apache-2.0
"""Reading CWL documents by cwltool, and the images that they ask for."""

from __future__ import annotations

import argparse
import functools
import io
import logging
import os
from collections.abc import Callable

import cwltool.main
from cwltool.context import LoadingContext
from cwltool.job import JobBase
from cwltool.process import Process
from schema_salad.exceptions import ValidationException

from cwl_udss.engine.failures import plain_words, tell_plainly
from cwl_udss.engine.jobs.host_job import HostJob
from cwl_udss.engine.jobs.job import SandboxedJob
from cwl_udss.engine.jobs.tool import MakeJob, SandboxedTool, make_tool
from cwl_udss.engine.options import extended_parser
from cwl_udss.engine.startup.loaders import use_late_loaders
from cwl_udss.engine.startup.schema_cache import keep_schemas
from cwl_udss.engine.startup.version import version_text
from cwl_udss.errors import ImageError, UdssError
from cwl_udss.machine.user_directories import home_directory
from cwl_udss.steps.cache import StepCache
from cwl_udss.steps.shared import Steps


def load_document(steps: Steps, document: str, overrides: str | None, *, offline: bool) -> None:
    """Read a CWL document, a file or at a URL, with all that it names, for Steps.expected.

    Raises ImageError.
    """
    arguments = ["--quiet", "--validate", "--enable-ext", document]
    if overrides is not None:
        arguments[:0] = ["--overrides", overrides]
    options = extended_parser().parse_args(arguments)
    use_late_loaders(offline=offline)
    keep_schemas(os.environ, home_directory())
    logging.getLogger("cwltool").setLevel(logging.WARNING)  # before main() heeds --quiet
    tell_plainly([document])
    make_job = functools.partial(SandboxedJob, steps, None)
    try:
        code = cwltool.main.main(
            arguments,
            stdout=io.StringIO(),
            versionfunc=version_text,
            loadingContext=loading_context(options, steps, None, make_job),
        )
    except Exception as error:
        raise ImageError(f"{document} cannot be read", plain_words(error, [document])) from error
    if code:
        raise ImageError(f"{document} cannot be read", "its mistakes are listed above")


def loading_context(
    options: argparse.Namespace,
    steps: Steps,
    cache: StepCache | None,
    make_job: MakeJob,
    follow: Callable[[Process, JobBase], None] | None = None,
) -> LoadingContext:
    """Return what has cwltool make our tools of documents, and notes what they ask for. `follow` is
    told of each of their jobs."""
    context = LoadingContext(vars(options))
    # Nothing between cwltool and the tool reads its command line or its mounts as text, so that no
    # character of a file's name needs to be refused.
    context.relax_path_checks = True

    def note(tool: SandboxedTool) -> None:
        tool.follow = follow
        try:
            request = tool.image_request(options.default_container)
        except UdssError as error:
            raise ValidationException(f"{tool.tool['id']}: {error}") from error
        steps.expect(request, tool.needed_bytes())
        if cache is not None and tool.updates_inputs:
            cache.disable(f"{tool.tool['id']} updates its inputs (InplaceUpdateRequirement)")

    make_host_job = functools.partial(HostJob, steps) if steps.contains_tools_of_host else None
    context.construct_tool_object = functools.partial(make_tool, make_job, make_host_job, note)
    return context
