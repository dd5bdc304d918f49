# SPDX-License-Identifier: Apache-2.0
"""Modules in one file, from which Python imports them without looking for each.

A short command imports two hundred modules; to find, open and read them takes a tenth of its time
on a local disk, and on a filesystem of a cluster each is several requests to its servers. What is
kept is the same as in `__pycache__`, and it is believed as that is: as long as a module's source
has the size and the time of change that it had. Any other module is imported as always.
"""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import MAGIC_NUMBER
from types import ModuleType

_NUMBER_BYTES = 4
_Kept = tuple[str, int, int, bool, int, int]
"""A module: its source, the size and time of that, whether it is a package, and where its code
begins, and how long that is."""


def keep(path: str) -> None:
    """Write what this process has imported of sources into a file, for use(). Raises OSError."""
    index: dict[str, _Kept] = {}
    codes = bytearray()
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            continue
        if name != spec.name:  # os.path, which is another's second name
            continue
        status = os.stat(spec.origin)
        code = marshal.dumps(spec.loader.get_code(name))
        is_package = spec.submodule_search_locations is not None
        facts = (spec.origin, status.st_size, status.st_mtime_ns, is_package)
        index[name] = (*facts, len(codes), len(code))
        codes += code
    first = marshal.dumps(index)
    made = f"{path}.{os.getpid()}"
    with open(made, "wb") as stream:
        os.fchmod(stream.fileno(), 0o644)  # for all who may use what it is for
        stream.write(MAGIC_NUMBER + len(first).to_bytes(_NUMBER_BYTES, "little") + first + codes)
    os.replace(made, path)


def use(path: str) -> None:
    """Have modules imported from such a file, if it is there and of this Python."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    begin = len(MAGIC_NUMBER) + _NUMBER_BYTES
    head = os.pread(descriptor, begin, 0)
    if not head.startswith(MAGIC_NUMBER):
        os.close(descriptor)
        return
    length = int.from_bytes(head[len(MAGIC_NUMBER) :], "little")
    # As trusted as Python's own, and as the script beside it.
    index = marshal.loads(os.pread(descriptor, length, begin))  # noqa: S302
    sys.meta_path.insert(0, _Importer(index, descriptor, begin + length))


class _Importer:
    """Finds and loads modules (see importlib.abc.MetaPathFinder and Loader)."""

    def __init__(self, index: Mapping[str, _Kept], descriptor: int, begin: int) -> None:
        """The descriptor stays open, as modules may be imported at any time."""
        self._index = index
        self._descriptor = descriptor
        self._begin = begin

    def find_spec(
        self, name: str, _path: object = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that is kept, and whose source is the same."""
        if name not in self._index:
            return None
        source, size, changed, is_package, _, _ = self._index[name]
        try:
            status = os.stat(source)
        except OSError:
            return None
        if (status.st_size, status.st_mtime_ns) != (size, changed):
            return None
        spec = ModuleSpec(name, self, origin=source, is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(os.path.dirname(source))
        return spec

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave that to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute a module's code."""
        *_, begin, length = self._index[module.__name__]
        code = marshal.loads(os.pread(self._descriptor, length, self._begin + begin))  # noqa: S302
        exec(code, vars(module))  # noqa: S102 - as all loaders do
