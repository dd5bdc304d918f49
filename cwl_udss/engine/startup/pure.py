# SPDX-License-Identifier: Apache-2.0
"""Makes a mypyc-compiled package usable for those who extend it, by importing its Python files.

conda-forge's cwltool is compiled. Compiled classes cannot be subclassed from Python, and assigning
to a compiled module's functions has no effect and says nothing. The wheel has the `.py` beside each
`.so`, and Python's import system lets us prefer them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

from cwl_udss.errors import UdssError


class _PythonFilesFirst:
    """A meta path finder (see importlib.abc.MetaPathFinder) for the modules of one package."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a compiled module's Python file; leave all else to the other finders."""
        if not name.startswith(f"{self._package}."):
            return None
        found = PathFinder.find_spec(name, path, target)
        if found is None or found.origin is None or not _is_compiled(found.origin):
            return found
        source = python_file(found.origin)
        return importlib.util.spec_from_file_location(
            name, source, loader=SourceFileLoader(name, str(source))
        )


def prefer_python_modules(package: str) -> None:
    """See to it that `package`'s modules are imported from their Python files.

    Raises UdssError if it is compiled and has been imported already, or came without these files.
    """
    imported = sys.modules.get(package)
    if imported is not None and _is_compiled(imported.__file__ or ""):
        raise UdssError(
            f"{package} is compiled (mypyc) and was imported before cwl-udss",
            "start it with the `cwltool` command of cwl-udss",
        )
    sys.meta_path.insert(0, _PythonFilesFirst(package))


def python_file(extension_module: str) -> Path:
    """Return the Python file of a compiled module. Raises UdssError if it is not beside it."""
    path = Path(extension_module)
    source = path.with_name(f"{path.name.partition('.')[0]}.py")
    if not source.is_file():
        raise UdssError(
            f"{path} is compiled (mypyc), and {source.name} is not beside it",
            "install cwltool with pip: pip install --force-reinstall cwltool",
        )
    return source


def _is_compiled(origin: str) -> bool:
    return origin.endswith(tuple(EXTENSION_SUFFIXES))
