# SPDX-License-Identifier: Apache-2.0
"""Writing a crate to where a person wants it, by the library that is made for it."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from urllib.parse import unquote

from rocrate.model.contextentity import ContextEntity
from rocrate.model.data_entity import DataEntity
from rocrate.rocrate import ROCrate

from cwl_udss.report.crate.crate import Crate
from cwl_udss.report.crate.graph import path_id
from cwl_udss.report.crate.profile import METADATA, TERMS_CONTEXT


def write_files(crate: Crate, directory: Path) -> None:
    """Put a crate into a directory, where it may have files already: they stay as they are. What
    describes it comes last. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".ro-crate-") as made:
        _library_crate(crate).write(made)
        files: list[Path] = []
        for root, _, names in os.walk(made):
            (directory / Path(root).relative_to(made)).mkdir(exist_ok=True)
            files += (Path(root, name) for name in names)
        for file in sorted(files, key=lambda file: file.name == METADATA):
            file.replace(directory / file.relative_to(made))


def _library_crate(crate: Crate) -> ROCrate:
    made = ROCrate(version=crate.profile.ro_crate)
    made.metadata.extra_contexts.append(TERMS_CONTEXT)
    additions = {path_id(addition.target): addition for addition in crate.additions}
    entities = {name: dict(facts) for name, facts in crate.entities.items()}
    for name, value in entities.pop("./").items():
        if not name.startswith("@"):
            made.root_dataset[name] = value
    parts = set(crate.parts)
    for identifier, properties in entities.items():
        addition = additions.pop(identifier, None)
        if addition is not None:
            source = io.StringIO(addition.content) if addition.source is None else addition.source
            made.add_file(source, unquote(identifier), properties=properties)
        elif identifier in parts and identifier.endswith("/") and ":" not in identifier:
            made.add_dataset(None, unquote(identifier), properties=properties)
        elif identifier in parts:  # there already, or on the web
            made.add(DataEntity(made, identifier, properties))
        else:
            made.add(ContextEntity(made, identifier, properties))
    return made
