# SPDX-License-Identifier: Apache-2.0
"""Importing cwltool in half the time: without what few runs use, and without looking for garbage.

cwltool imports at its start what draws graphs, records provenance, and so on. Python's own way to
put off a module, importlib.util.LazyLoader, is of no help against `from MODULE import NAME`, which
looks into it at once. So while cwltool is imported such modules are replaced by stand-ins, which
give out stand-ins of the names that are known to be only called, looked into, or mentioned in
annotations. Any other name, of another release, say, loads the module at once.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Union

from cwl_udss.machine.late_modules import LateModule, load

# Of a package there can be no names: importing one looks into it.
SELDOM_USED: Mapping[str, frozenset[str]] = {
    # --print-rdf and --print-dot; imports pydot.
    "cwltool.cwlrdf": frozenset(("printdot", "printrdf")),
    # --provenance; imports dateutil.
    "cwltool.cwlprov.provenance_profile": frozenset(("ProvenanceProfile",)),
    "prov.model": frozenset(("PROV", "ProvDocument")),
    # JavaScript engines other than Node.js.
    "asyncio": frozenset(),
    # The memory that a tool takes, and --parallel.
    "psutil": frozenset(),
}
"""Modules, and the names of each that cwltool imports, but does not use before it runs."""


def given_options(arguments: list[str], environment: Mapping[str, str]) -> list[str]:
    """Return all options of a `cwltool` command, as cwltool collects them."""
    return [*environment.get("CWLTOOL_OPTIONS", "").split(), *arguments]


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import cwltool in this block."""
    late = {name: _LateModule(name) for name in SELDOM_USED if name not in sys.modules}
    sys.modules.update(late)
    # Modules are no garbage; looking for it among them takes a third of the time, here and once
    # more at the end of the process, which looks at all that is not frozen.
    gc.disable()
    try:
        yield
    finally:
        for name, module in late.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        gc.freeze()
        gc.enable()


class _LateModule(LateModule):
    """Gives out stand-ins, too."""

    def __getattr__(self, name: str) -> Any:
        loaded = sys.modules.get(self.__name__, self)
        if loaded is self:
            names = SELDOM_USED[self.__name__]
            if name in names:
                return _LateName(self.__name__, name)
            if name == "__path__" and names:
                raise AttributeError("this is how the import system knows that it is no package")
        return super().__getattr__(name)


class _LateName:
    """Stands in for what a module has under a name, until it is used."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def _itself(self) -> Any:
        return getattr(load(self._module), self._name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._itself()(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # typing asks for such of whatever is in an annotation
            raise AttributeError(name)
        return getattr(self._itself(), name)

    def __getitem__(self, key: Any) -> Any:
        return self._itself()[key]

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._itself())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any]:
        return (self._itself(),)

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007 - that is what is being said here

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007
