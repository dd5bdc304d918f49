# SPDX-License-Identifier: Apache-2.0
"""Loaders of documents that open an HTTP session when something is fetched, not when they are made.

cwltool makes half a dozen loaders at every start. Schema Salad's gives each a session with a cache
of files, which imports filelock; few documents are read from a web server.

Without a network they fetch nothing. With one, a server that has not answered is not asked again:
the $schemas of a workflow are asked for by each of its documents, and where a firewall drops
packets each time is a time-out.
"""

from __future__ import annotations

import logging
import sys
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests
from schema_salad import ref_resolver

from cwl_udss.machine.waiting import told
from cwl_udss.web.addresses import is_remote, without_password
from cwl_udss.web.asking import TIMEOUTS, innermost


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

    def get(self, url: str, **keywords: Any) -> requests.Response:
        """Fetch a document."""
        return self._ask("get", url, keywords)

    def head(self, url: str, **keywords: Any) -> requests.Response:
        """Ask whether there is one. Offline there may be: what is fetched then fails with the
        reason, and what is only a name (of a format) need not be there."""
        if not _servers.offline:
            return self._ask("head", url, keywords)
        unknown = requests.Response()
        unknown.status_code = requests.codes.ok
        return unknown

    def _ask(self, method: str, url: str, keywords: dict[str, Any]) -> requests.Response:
        _servers.check(url)
        try:
            with told(f"for an answer to {without_password(url)}"):
                response: requests.Response = getattr(self._session, method)(
                    url, **{"timeout": TIMEOUTS, **keywords}
                )
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _servers.failed(url, error) from error
        return response


class _Servers:
    """Which servers may be asked in this run. What is raised is text of a longer message of Schema
    Salad's."""

    def __init__(self, *, offline: bool) -> None:
        self.offline = offline
        self._silent: dict[str, str] = {}

    def check(self, url: str) -> None:
        if self.offline:
            raise requests.ConnectionError(
                "it is not fetched, as the run is --udss-offline: download it where there is a "
                "network, and name that file"
            )
        server = urlsplit(url).netloc
        if server in self._silent:
            raise requests.ConnectionError(self._silent[server])

    def failed(self, url: str, error: Exception) -> requests.ConnectionError:
        server = urlsplit(url).netloc
        self._silent[server] = f"its server does not answer, {innermost(error)}"
        return requests.ConnectionError(self._silent[server])


_servers = _Servers(offline=False)


class _SaladLog(logging.Filter):
    """Takes out of Schema Salad's log what it says again and again, and to its own developers.

    Of $schemas that cannot be had it warns once for each document that names them; here it does
    once for each URL, and offline once. With an $import or $include that fails comes a traceback.
    """

    def __init__(self) -> None:
        super().__init__()
        self._warned: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line goes to the log."""
        text, arguments = str(record.msg), record.args
        if text in ("loader is %s", "failed"):
            return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
        if not text.startswith("Could not load extension schema") or not arguments:
            return True
        url = str(arguments[0]) if isinstance(arguments, tuple) else ""
        if _servers.offline and is_remote(url):
            record.msg = (
                "$schemas at web servers are left out, as the run is --udss-offline: %s and all "
                "others; formats are compared by their names only"
            )
            record.args = (without_password(url),)
            record.exc_info = None  # what has failed is said
            url = ""
        is_news = url not in self._warned
        self._warned.add(url)
        return is_news


def use_late_loaders(*, offline: bool) -> None:
    """Have cwltool make such loaders, in all of its modules that make any."""
    global _servers  # noqa: PLW0603 - loaders are made in many places, by cwltool, and copied
    _servers = _Servers(offline=offline)
    salad = logging.getLogger("salad")
    for earlier in [f for f in salad.filters if isinstance(f, _SaladLog)]:
        salad.removeFilter(earlier)
    # Before the one for plain words (failures.py), which leaves no arguments.
    salad.filters.insert(0, _SaladLog())
    for name, module in list(sys.modules.items()):
        names = vars(module)
        if name.startswith("cwltool.") and names.get("Loader") is ref_resolver.Loader:
            names["Loader"] = LateLoader
