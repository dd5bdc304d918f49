# SPDX-License-Identifier: Apache-2.0
"""Documents are fetched as by Schema Salad's own loaders, and nothing is made for it before."""

from __future__ import annotations

import copy
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cachecontrol.adapter import CacheControlAdapter
from commands import Command
from schema_salad.ref_resolver import Loader, SubLoader, file_uri

from cwl_udss.engine.startup.loaders import LateLoader

DOCUMENT = {"cwlVersion": "v1.2", "class": "CommandLineTool", "inputs": {}, "outputs": {}}


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a document on a web server."""
    (tmp_path / "tool.cwl").write_text(json.dumps({**DOCUMENT, "baseCommand": "true"}))
    handler = functools.partial(_Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/tool.cwl"
        listening.shutdown()
        thread.join()


def test_a_local_document_needs_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "document.json").write_text(json.dumps(DOCUMENT))
    monkeypatch.delattr(requests, "Session")
    loader = LateLoader({})
    assert loader.fetch(file_uri(str(tmp_path / "document.json"))) == DOCUMENT
    assert SubLoader(loader).session is loader.session
    assert copy.deepcopy(loader.session) is not loader.session


def test_a_document_of_a_web_server_is_fetched(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    loader = LateLoader({})
    assert loader.fetch(server)["class"] == "CommandLineTool"
    assert loader.check_exists(server)
    assert not loader.check_exists(f"{server}.no")


@pytest.mark.parametrize("doc_cache", [True, False, "directory"])
def test_a_session_is_what_the_original_loader_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doc_cache: bool | str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    original = Loader({}, doc_cache=doc_cache).session
    late = LateLoader({}, doc_cache=doc_cache).session
    for one, other in zip(original.adapters.values(), late.adapters.values(), strict=True):
        assert type(one) is type(other)
        if isinstance(one, CacheControlAdapter):
            assert vars(one.cache).keys() == vars(other.cache).keys()
            assert one.cache.directory == other.cache.directory


def test_a_session_that_is_given_is_used() -> None:
    session = requests.Session()
    assert LateLoader({}, session=session).session is session
    assert LateLoader({}, None, None, None, None, session).session is session


def test_cwltool_reads_documents_of_a_web_server(
    run_command: Command, tmp_path: Path, server: str
) -> None:
    done = run_command("cwltool", "--udss", "--validate", server, HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert f"{server} is valid CWL" in done.stdout
    missing = run_command("cwltool", "--udss", "--validate", f"{server}.no")
    assert missing.returncode == 1
    assert "404" in missing.stdout
