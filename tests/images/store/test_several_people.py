# SPDX-License-Identifier: Apache-2.0
"""Several people with one store: what one of them may not do says whose it is, and is not begun.

They are users of a user namespace, in which this file is run as a program.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from needs import SCRATCH, need
from tar_layers import directory, file, tar

from cwl_udss.errors import StoreError
from cwl_udss.images.convert import convert
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.maintenance import prune, verify
from cwl_udss.images.manifests.manifest import Descriptor, this_platform
from cwl_udss.images.sources.source import Source
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.staging import work_directory

ALICE, BOB, GROUP = 5001, 5002, 5000  # that nobody has a name for
LAYER = tar(directory("bin"), file("bin/tool", "content", mode=0o755))


def put(store: Store, name: str) -> None:
    """Put an image into a store."""
    layer = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
    digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    source = Source(
        name=name,
        digest=digest,
        layers=(Descriptor(digest=layer, size=len(LAYER), media_type=""),),
        diff_ids=(layer,),
        config_document=b"{}",
        read=lambda _: [LAYER],
    )
    convert(source, store)
    store.remember(name, this_platform(), digest)


def as_user(user: int, action: Callable[[], None]) -> None:
    """Do something as one of them; what is raised there fails the program."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(GROUP)
            os.setuid(user)
            action()
            code = 0
        except BaseException:  # noqa: BLE001 - a test's failure, too
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    assert status == 0


def only(store: Store, name: str) -> StoredImage:
    (image,) = (image for image in store.images() if image.references == (name,))
    return image


def contents(path: Path) -> list[tuple[str, int]]:
    """All that is there, with modes; not that it was used."""
    found = (entry for entry in path.rglob("*") if "uses" not in entry.parts)
    return sorted((str(entry), entry.lstat().st_mode) for entry in found)


def refused(action: Callable[[], object], owner: int) -> None:
    with pytest.raises(StoreError, match=f"(is|are) user {owner}'s"):
        action()


def a_store_of_a_group(path: Path, format: ImageFormat) -> None:
    """Each may remove what is whole files, and directories of his own."""
    store = Store(path, format=format)
    os.chown(path, ALICE, GROUP)
    path.chmod(0o2775)
    as_user(ALICE, lambda: put(store, "alice"))
    as_user(BOB, lambda: put(store, "bob"))

    def clear_up() -> None:
        before = contents(store.path)
        if format is ImageFormat.DIRECTORY:
            refused(lambda: store.remove(only(store, "alice")), ALICE)
            assert contents(store.path) == before
            removed = {
                found.image.references: found.problem for found in prune(store, most_bytes=0)
            }
            assert removed[("bob",)] == ""
            assert f"user {ALICE}'s" in removed[("alice",)]
            assert [image.references for image in store.images()] == [("alice",)]
        else:
            assert [found.problem for found in prune(store, most_bytes=0)] == ["", ""]
            assert store.images() == []

    as_user(BOB, clear_up)


def a_store_of_another(path: Path, format: ImageFormat) -> None:
    """It can be used and checked, and stays as it is."""
    store = Store(path, format=format)
    os.chown(path, ALICE, GROUP)
    path.chmod(0o755)
    as_user(ALICE, lambda: put(store, "alice"))

    def try_all() -> None:
        before = contents(store.path)
        image = only(store, "alice")
        with store.use(image):
            assert store.find_digest(image.digest) is not None
        assert [(found.quarantined, found.problem) for found in verify(store)] == [(None, "")]
        refused(lambda: put(store, "bob"), ALICE)
        refused(lambda: store.remove(image), ALICE)
        refused(lambda: store.forget(image, image.references), ALICE)
        refused(lambda: store.quarantine(image), ALICE)
        (found,) = prune(store, most_bytes=0)
        assert f"user {ALICE}'s" in found.problem
        assert contents(store.path) == before

    as_user(BOB, try_all)


def an_image_that_one_may_not_read(path: Path, format: ImageFormat) -> None:
    """It is not called damaged for that."""
    store = Store(path, format=format)
    os.chown(path, ALICE, GROUP)
    path.chmod(0o2775)
    as_user(ALICE, lambda: put(store, "alice"))
    image = only(store, "alice")
    image.path.chmod(0o700)

    def look() -> None:
        (found,) = verify(store)
        assert found.quarantined is None
        assert f"user {ALICE}'s" in found.problem

    as_user(BOB, look)


def work_of_the_dead(path: Path, format: ImageFormat) -> None:
    """Whoever owns the directory that holds it does not change that directory for it."""
    os.chown(path, BOB, GROUP)
    path.chmod(0o2775)
    store = Store(path, format=format)
    as_user(BOB, lambda: put(store, "bob"))

    def die() -> None:
        if os.fork() == 0:
            with work_directory(store.path / "work") as work:
                (work / "half").mkdir()
                os.kill(os.getpid(), signal.SIGKILL)
        os.wait()

    as_user(ALICE, die)
    before = contents(store.path / "work")
    assert before
    as_user(BOB, lambda: put(store, "another"))
    as_user(BOB, lambda: _check(store.clean(patience=0) == []))
    assert contents(store.path / "work") == before
    assert (store.path / "work").stat().st_mode & 0o777 == 0o775
    as_user(ALICE, lambda: _check(len(store.clean(patience=0)) == 1))
    assert contents(store.path / "work") == []


def _check(truth: bool) -> None:
    assert truth


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        a_store_of_a_group,
        a_store_of_another,
        an_image_that_one_may_not_read,
        work_of_the_dead,
    )
}


@pytest.fixture
def users() -> Iterator[list[str]]:
    """What runs a program where there are several users."""
    command = ["unshare", "--user", "--map-root-user", "--map-auto", "--"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        need(f"needs the Debian package uidmap, and ids in /etc/subuid: {tried.stderr}")
    with tempfile.TemporaryDirectory(dir=SCRATCH, prefix="cwl-udss-tests-") as scratch:
        yield [*command, sys.executable, __file__, scratch]
        # What is other users' is not ours to remove.
        subprocess.run([*command, "rm", "-rf", f"{scratch}/store"], check=True)


@pytest.mark.parametrize("format", ImageFormat)
@pytest.mark.parametrize(
    ("scenario", "umask"),
    [
        *((scenario, "022") for scenario in SCENARIOS),
        # By which a group's store is no less the group's.
        *((scenario, "077") for scenario in SCENARIOS if scenario != "a_store_of_another"),
    ],
)
def test_several_people(users: list[str], scenario: str, umask: str, format: ImageFormat) -> None:
    done = subprocess.run(
        [*users, scenario, umask, format.value],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def main() -> None:
    """Run a scenario: DIRECTORY SCENARIO UMASK FORMAT."""
    scratch, scenario, umask, format = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    os.chmod(scratch, 0o755)
    os.umask(int(umask, 8))
    store = Path(scratch, "store")
    store.mkdir()
    SCENARIOS[scenario](store, ImageFormat(format))


if __name__ == "__main__":
    main()
