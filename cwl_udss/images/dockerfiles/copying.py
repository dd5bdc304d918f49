# SPDX-License-Identifier: Apache-2.0
"""What COPY, ADD and RUN are given: here-documents, what is at a URL, files of a context."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from cwl_udss.images.dockerfiles.context import Context, Given
from cwl_udss.images.dockerfiles.dockerfile import (
    Heredoc,
    Instruction,
    exec_form,
    expand,
    problem,
)


def written_by(
    instruction: Instruction, source: str, variables: Mapping[str, str], escape: str
) -> dict[str, Any] | None:
    """Return what a source of COPY or ADD is that is no file of a context: a here-document, or at a
    URL."""
    heredocs = {f"<<{heredoc.name}": heredoc for heredoc in instruction.heredocs}
    heredoc = heredocs.get(source.replace("-", "", 1) if source[2:3] == "-" else source)
    if heredoc is not None:
        content = _content(heredoc, variables, escape)
        return {"name": heredoc.name, "content": content, "mode": 0o644}
    if instruction.name == "ADD" and source.startswith(("http://", "https://")):
        name = posixpath.basename(source.partition("?")[0]) or "download"
        return {"name": name, "url": source, "mode": 0o600}
    return None


def _content(heredoc: Heredoc, variables: Mapping[str, str], escape: str) -> str:
    if not heredoc.is_expanded:
        return heredoc.content
    # As in a shell's here-document, quotes are nothing special.
    marked = heredoc.content.replace("'", "\0").replace('"', "\1")
    return expand(marked, variables, escape).replace("\0", "'").replace("\1", '"')


def context_for(instruction: Instruction, sources: Sequence[str], given: Given) -> Context:
    """Return the context that has these sources. Raises ImageError if there is none."""
    context, line = given.context, instruction.line
    if context is None:
        raise problem(
            line,
            f"{sources[0]} would come from a build context, and there is none",
            "use a here-document, COPY --from, ADD with a URL, or RUN",
        )
    if context.key(sources) is None:
        raise problem(
            line,
            f"not all of {' '.join(sources)} is in {context.directory}",
            "see its .dockerignore, too",
        )
    if instruction.name == "ADD" and context.has_archive(sources):
        raise problem(
            line,
            f"ADD does not unpack archives here ({' '.join(sources)})",
            "unpack it before, or COPY it and RUN tar",
        )
    return context


def run_command(shell: tuple[str, ...], instruction: Instruction) -> tuple[tuple[str, ...], str]:
    """Return the command of a RUN, and the script if that is a here-document with an
    interpreter."""
    heredocs = instruction.heredocs
    if not heredocs:
        return exec_form(instruction.text) or (*shell, instruction.text), ""
    only = heredocs[0]
    if len(heredocs) > 1 or instruction.text.strip("<-\"' ") != only.name:
        bodies = "".join(f"{heredoc.content}{heredoc.name}\n" for heredoc in heredocs)
        return (*shell, f"{instruction.text}\n{bodies}"), ""
    if only.content.startswith("#!"):
        return (), only.content
    return (*shell, only.content), ""
