# SPDX-License-Identifier: Apache-2.0
"""Loaders of documents that open an HTTP session when something is fetched, not when they are made.

cwltool makes half a dozen loaders at every start. Schema Salad's gives each a session with a cache
of files, which imports filelock; few documents are read from a web server.
"""

from __future__ import annotations

import sys
from functools import cached_property
from typing import Any

import requests
from schema_salad import ref_resolver


class LateLoader(ref_resolver.Loader):
    """A Loader whose session is made when it is used."""

    def __init__(self, ctx: Any, *arguments: Any, **keywords: Any) -> None:
        if not arguments and keywords.get("session") is None:
            keywords["session"] = _LateSession(keywords.get("doc_cache", True))
        super().__init__(ctx, *arguments, **keywords)


class _LateSession:
    """Stands for the session that a Loader makes by itself."""

    def __init__(self, doc_cache: bool | str) -> None:
        self._doc_cache = doc_cache

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by copy and the like, of an object half made, too
            raise AttributeError(name)
        return getattr(self._session, name)

    @cached_property
    def _session(self) -> requests.Session:
        return ref_resolver.Loader({}, doc_cache=self._doc_cache).session


def use_late_loaders() -> None:
    """Have cwltool make such loaders, in all of its modules that make any."""
    for name, module in list(sys.modules.items()):
        names = vars(module)
        if name.startswith("cwltool.") and names.get("Loader") is ref_resolver.Loader:
            names["Loader"] = LateLoader
