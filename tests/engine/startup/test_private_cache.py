# SPDX-License-Identifier: Apache-2.0
"""What one run keeps for another: believed only if nobody else can have written it."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from cwl_udss.engine.startup.private_cache import PrivateCache, is_own

VALUE = {"a": [1, None, "ä"], "b": {"c": True}}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "values"


@pytest.fixture
def cache(directory: Path) -> PrivateCache:
    """One with a value."""
    cache = PrivateCache(directory)
    cache.put("key", VALUE)
    return cache


def entry(directory: Path) -> Path:
    return directory / "key.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_what_was_put_is_got_by_whoever_comes_later(cache: PrivateCache, directory: Path) -> None:
    assert PrivateCache(directory).get("key") == VALUE
    assert cache.get("other") is None


def test_it_is_this_users_alone_whatever_the_umask(directory: Path) -> None:
    before = os.umask(0)
    try:
        PrivateCache(directory).put("key", VALUE)
    finally:
        os.umask(before)
    assert mode(directory.parent) == 0o755
    assert mode(directory) == 0o700
    assert mode(entry(directory)) == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:20],
        lambda content: content + b" ",
        lambda content: content.replace(b"true", b"null"),
        lambda content: b"\0" * len(content),
    ],
    ids=["empty", "truncated", "in the digest", "longer", "changed", "zeros"],
)
def test_what_is_damaged_is_removed(cache: PrivateCache, directory: Path, damage: object) -> None:
    path = entry(directory)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert cache.get("key") is None
    assert not path.exists()
    cache.put("key", VALUE)
    assert cache.get("key") == VALUE


@pytest.mark.parametrize("bits", [0o020, 0o002])
def test_a_file_that_others_may_write_is_not_believed(
    cache: PrivateCache, directory: Path, bits: int
) -> None:
    entry(directory).chmod(0o600 | bits)
    assert cache.get("key") is None


@pytest.mark.parametrize("bits", [0o070, 0o005, 0o002, 0o010])
def test_a_directory_that_is_open_to_others_is_not_used(
    cache: PrivateCache, directory: Path, bits: int
) -> None:
    directory.chmod(0o700 | bits)
    assert cache.get("key") is None
    entry(directory).unlink()
    cache.put("key", VALUE)
    assert not entry(directory).exists()


def test_what_is_another_users_is_not_used(cache: PrivateCache, directory: Path) -> None:
    """Another directory is there under the name; as root one that is root's would be our own."""
    status = directory.lstat()
    assert is_own(status, 0o077)
    fields = list(status)
    fields[stat.ST_UID] = os.geteuid() + 1
    assert not is_own(os.stat_result(fields), 0o077)
    if os.geteuid() != 0:
        assert not is_own(os.lstat("/etc"), 0o002)


def test_no_link_is_followed(cache: PrivateCache, directory: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    entry(directory).rename(moved)
    entry(directory).symlink_to(moved)
    assert cache.get("key") is None
    entry(directory).unlink()
    moved.rename(entry(directory))
    assert cache.get("key") == VALUE
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    assert cache.get("key") is None


def test_what_is_no_file_is_not_waited_for(cache: PrivateCache, directory: Path) -> None:
    entry(directory).unlink()
    os.mkfifo(entry(directory))
    assert cache.get("key") is None


def test_where_nothing_can_be_kept_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = PrivateCache(tmp_path / "file" / "values")
    cache.put("key", VALUE)
    assert cache.get("key") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_still_read(cache: PrivateCache, directory: Path) -> None:
    directory.chmod(0o500)
    try:
        cache.put("other", VALUE)
        assert cache.get("other") is None
        assert cache.get("key") == VALUE
    finally:
        directory.chmod(0o700)


def test_many_may_keep_the_same_at_once(directory: Path) -> None:
    cache = PrivateCache(directory)
    large = {"value": "x" * 1_000_000}
    seen = []

    def work() -> None:
        cache.put("key", large)
        seen.append(cache.get("key"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [large] * 8
    assert list((directory / "work").iterdir()) == []


def test_what_is_old_is_removed_when_something_is_kept(
    cache: PrivateCache, directory: Path
) -> None:
    cache.put("old", VALUE)
    long_ago = time.time() - 100 * 24 * 3600
    os.utime(directory / "old.json", (long_ago, long_ago))
    cache.put("new", VALUE)
    assert [cache.get(key) for key in ("old", "key", "new")] == [None, VALUE, VALUE]
