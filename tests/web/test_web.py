# SPDX-License-Identifier: Apache-2.0
"""Files come from web servers whole and as they are there, or not at all, with the reason."""

from __future__ import annotations

import gzip
import hashlib
import logging
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from web_server import Site, serve_site

from cwl_udss.errors import DownloadError
from cwl_udss.web.addresses import without_password
from cwl_udss.web.downloads import Download, beginning, download

CONTENT = bytes(range(256)) * 5_000


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


def fetch(url: str, directory: Path, waits: list[float], patience: float = 60) -> Download:
    try:
        return download(url, directory / "file", sleep=waits.append, patience=patience)
    finally:
        assert [path.name for path in directory.iterdir() if path.name != "file"] == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file(site: Site, tmp_path: Path, waits: list[float], chunked: bool) -> None:
    modified = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    url = site.add("/genome.fa", CONTENT, chunked=chunked, headers=modified)
    done = fetch(url, tmp_path, waits)
    assert done.path.read_bytes() == CONTENT
    assert done.size == len(CONTENT)
    assert done.checksum == f"sha1${hashlib.sha1(CONTENT).hexdigest()}"
    assert done.path.stat().st_mtime == 1445412480
    assert waits == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "404 Not Found: look for a misspelling"),
        (410, "410 Gone"),
        (401, "401 Unauthorized: it needs a login"),
        (403, "403 Forbidden"),
        (400, "400 Bad Request"),
        (204, "204 No Content"),
        (202, "202 Accepted"),
        (304, "304 Not Modified"),
    ],
)
def test_what_is_no_file_is_never_taken_for_one(
    site: Site, tmp_path: Path, waits: list[float], status: int, said: str
) -> None:
    url = site.add("/reads.fq", b"", status=status)
    with pytest.raises(DownloadError) as error:
        fetch(url, tmp_path, waits)
    assert str(error.value).startswith(url)
    assert said in str(error.value)
    assert (waits, len(site.requests)) == ([], 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_waited_for(
    site: Site, tmp_path: Path, waits: list[float], status: int
) -> None:
    url = site.add("/reads.fq", CONTENT, busy=[status, status], headers={"Retry-After": "7"})
    assert fetch(url, tmp_path, waits).size == len(CONTENT)
    assert waits == [7, 7]


def test_a_server_that_stays_busy(site: Site, tmp_path: Path, waits: list[float]) -> None:
    url = site.add("/reads.fq", CONTENT, status=503)
    with pytest.raises(DownloadError, match="503 Service Unavailable: try again later"):
        fetch(url, tmp_path, waits)
    assert len(site.requests) == 5


@pytest.mark.parametrize("chunked", [False, True])
def test_a_broken_download_is_begun_again(
    site: Site, tmp_path: Path, waits: list[float], chunked: bool
) -> None:
    url = site.add("/reads.fq", CONTENT, cut=300_000, cuts=2, chunked=chunked)
    assert fetch(url, tmp_path, waits).path.read_bytes() == CONTENT
    assert len(waits) == 2


OLD = "Mon, 30 Nov 2015 20:00:00 GMT"


@pytest.mark.parametrize(
    "headers", [{"ETag": '"one"'}, {"Last-Modified": OLD}, {"ETag": '"one"', "Last-Modified": OLD}]
)
def test_a_broken_download_goes_on_where_it_broke_off(
    site: Site, tmp_path: Path, waits: list[float], headers: dict[str, str]
) -> None:
    """However often it breaks off, if something comes each time."""
    url = site.add("/image.sif", CONTENT, cut=270_000, headers=headers, ranges=True)
    found = fetch(url, tmp_path, waits)
    assert found.path.read_bytes() == CONTENT
    assert found.checksum == f"sha1${hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()}"
    assert found.size == len(CONTENT)
    begins = [each.get("Range") for each in site.headers]
    assert begins == [None, *(f"bytes={n * 270_000}-" for n in range(1, len(begins)))]
    assert len(begins) == -(-len(CONTENT) // 270_000)


@pytest.mark.parametrize(
    "headers",
    [{}, {"ETag": 'W/"one"'}, {"Last-Modified": "no date"}, {"Last-Modified": "in this second"}],
)
def test_what_a_server_does_not_tell_from_another_is_begun_again(
    site: Site, tmp_path: Path, waits: list[float], headers: dict[str, str]
) -> None:
    if "in this second" in headers.values():
        headers = {"Last-Modified": formatdate(time.time() + 1, usegmt=True)}
    url = site.add("/image.sif", CONTENT, cut=300_000, cuts=1, headers=headers, ranges=True)
    assert fetch(url, tmp_path, waits).path.read_bytes() == CONTENT
    assert [each.get("Range") for each in site.headers] == [None, None]


def test_what_has_changed_meanwhile_is_taken_from_its_beginning(
    site: Site, tmp_path: Path, waits: list[float]
) -> None:
    new = CONTENT[::-1]
    url = site.add("/image.sif", CONTENT, cut=300_000, cuts=1, headers={"ETag": '"1"'})

    def change(seconds: float) -> None:
        site.add("/image.sif", new, headers={"ETag": '"2"'}, ranges=True)

    found = download(url, tmp_path / "file", algorithm="sha256", sleep=change)
    assert found.path.read_bytes() == new
    assert found.checksum == f"sha256${hashlib.sha256(new).hexdigest()}"


def test_a_part_from_elsewhere_is_not_put_behind_the_others(
    site: Site, tmp_path: Path, waits: list[float]
) -> None:
    headers = {"ETag": '"1"', "Content-Range": "bytes 5-9/10"}
    url = site.add("/image.sif", CONTENT, cut=300_000, cuts=1, headers={"ETag": '"1"'})

    def lie(seconds: float) -> None:
        if not waits:
            site.add("/image.sif", CONTENT, headers=headers, status=206)
        else:
            site.add("/image.sif", CONTENT)
        waits.append(seconds)

    assert download(url, tmp_path / "file", sleep=lie).path.read_bytes() == CONTENT
    assert len(waits) == 2


def test_the_beginning_of_a_file(site: Site) -> None:
    url = site.add("/image.sif", CONTENT)
    assert beginning(url, 1000) == CONTENT[:1000]
    assert beginning(url, 1 << 30) == CONTENT
    with pytest.raises(DownloadError, match="404"):
        beginning(site.url("/none"), 1000)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cut", [0, 300_000])
def test_a_part_is_never_taken_for_the_file(
    site: Site, tmp_path: Path, waits: list[float], chunked: bool, cut: int
) -> None:
    url = site.add("/reads.fq", CONTENT, cut=cut, chunked=chunked)
    with pytest.raises(DownloadError, match="does not come whole in 5 attempts"):
        fetch(url, tmp_path, waits)
    assert list(tmp_path.iterdir()) == []


def test_a_page_of_another_length_is_not_taken_for_the_file(
    site: Site, tmp_path: Path, waits: list[float]
) -> None:
    url = site.add("/reads.fq", b"<html>", headers={"Content-Length": "1000"}, cut=6)
    with pytest.raises(DownloadError, match="does not come whole"):
        fetch(url, tmp_path, waits)


def test_a_server_that_drips_is_given_up(site: Site, tmp_path: Path, waits: list[float]) -> None:
    url = site.add("/reads.fq", CONTENT, drip_seconds=0.02)
    with pytest.raises(DownloadError, match=r"does not come whole .* bytes in \d+ s"):
        fetch(url, tmp_path, waits, patience=0.2)


@pytest.mark.parametrize("name", ["/reads.fq.gz", "/reads.fq"])
def test_a_compressed_file_stays_compressed_and_no_other_is(
    site: Site, tmp_path: Path, waits: list[float], name: str
) -> None:
    compressed = gzip.compress(CONTENT)
    url = site.add(name, compressed, headers={"Content-Encoding": "gzip"})
    expected = compressed if name.endswith(".gz") else CONTENT
    assert fetch(url, tmp_path, waits).path.read_bytes() == expected
    assert site.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("name", "warned"),
    [
        ("/reads.fq", True),
        ("/reads.fq?x=report.html", True),
        ("/report.html", False),
        ("/id", False),
    ],
)
def test_a_web_page_under_a_files_name_is_named(
    site: Site,
    tmp_path: Path,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    name: str,
    warned: bool,
) -> None:
    headers = {"Content-Type": "text/html; charset=utf-8"}
    url = site.add(name, b"<html>Please log in</html>", headers=headers)
    fetch(url, tmp_path, waits)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [url in warning for warning in warnings] == ([True] if warned else [])


def test_redirects_are_followed_and_loops_are_left(
    site: Site, tmp_path: Path, waits: list[float]
) -> None:
    site.add("/there", CONTENT)
    url = site.add("/here", status=302, headers={"Location": "/there"})
    assert fetch(url, tmp_path, waits).size == len(CONTENT)
    url = site.add("/loop", status=302, headers={"Location": "/loop"})
    with pytest.raises(DownloadError, match="redirects without end"):
        fetch(url, tmp_path, waits)
    assert waits == []


def test_nobody_listens(tmp_path: Path, waits: list[float]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/reads.fq"
        with pytest.raises(DownloadError, match=r"reads.fq cannot be downloaded: .*refused") as e:
            fetch(url, tmp_path, waits)
    assert "0x" not in str(e.value)
    assert waits == []


@pytest.mark.parametrize("url", ["http://[bad/reads.fq", "http:///reads.fq", "http://no such/x"])
def test_what_is_no_url(tmp_path: Path, waits: list[float], url: str) -> None:
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        fetch(url, tmp_path, waits)
    assert waits == []


def test_no_room_for_it(site: Site, tmp_path: Path, waits: list[float]) -> None:
    url = site.add("/reads.fq", CONTENT)
    with pytest.raises(DownloadError, match=r"cannot be written to .*: No such file or directory"):
        download(url, tmp_path / "no" / "file", sleep=waits.append)


def test_passwords_are_not_shown(site: Site, tmp_path: Path, waits: list[float]) -> None:
    assert without_password("https://mia:secret@h:1/x?y") == "https://h:1/x?y"
    assert without_password("https://mia:se@cret@[h/x") == "https://[h/x"
    url = site.add("/reads.fq", status=403).replace("//", "//mia:secret@")
    with pytest.raises(DownloadError) as error:
        fetch(url, tmp_path, waits)
    assert "secret" not in str(error.value)
    assert site.headers[0]["Authorization"].startswith("Basic ")
