# SPDX-License-Identifier: Apache-2.0
"""A job's outputs, as cwltool has collected them."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, MutableMapping
from typing import Any

from cwltool.errors import WorkflowException
from cwltool.utils import adjustFileObjs, visit_class
from schema_salad.ref_resolver import uri_file_path

from cwl_udss.engine.jobs.file_access import name_by_uri, name_whole
from cwl_udss.steps.key import Contents


def collected(collect: Callable[..., Any], directory: str, exit_code: int, name: str) -> Any:
    """Return what cwltool collects from an output directory, each thing named by a URI; `name` is
    what the step calls the directory."""
    try:
        outputs = collect(directory, exit_code)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WorkflowException(
            f"the tool has left a cwl.output.json that is no JSON: {error}"
        ) from error
    visit_class(outputs, ("File", "Directory"), name_by_uri)
    visit_class(outputs, ("Directory",), functools.partial(name_whole, directory, name))
    return outputs


def record_checksums(outputs: Any, contents: Contents, directory: str) -> None:
    """Spare the steps that are given these outputs the reading of them."""
    # A checksum in cwl.output.json is only the tool's word.
    if not os.path.exists(os.path.join(directory, "cwl.output.json")):
        adjustFileObjs(outputs, functools.partial(_record_checksum, contents, directory))


def _record_checksum(contents: Contents, directory: str, file: MutableMapping[str, Any]) -> None:
    """Note what cwltool has just read."""
    location = str(file.get("location", ""))
    path = uri_file_path(location) if location.startswith("file://") else location
    if "checksum" in file and path.startswith(f"{directory}/"):
        contents.record(path, str(file["checksum"]))
