# SPDX-License-Identifier: Apache-2.0
"""Makes stored images usable on this node.

A directory is used where it is, if programs may be executed there. A SquashFS file is mounted, once
for all steps of the node, if /dev/fuse may be used. Else an image is unpacked (copied), once, to a
directory of this node whose size is bounded.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from cwl_udss.errors import SandboxError, StoreError
from cwl_udss.files.scratch import batch_job, local_directories, node_directory
from cwl_udss.filesystems.leases import living, presence, presence_name
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.locations import file_stamp
from cwl_udss.images.node.mount_holder import MOUNT_SECONDS, connect
from cwl_udss.images.node.mounter import MOUNTER, can_enter_mounts, find_mounter, mount_command
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.machine.own_modules import module_command
from cwl_udss.machine.waiting import told
from cwl_udss.sandbox import RootFilesystem, Runtime
from cwl_udss.staging import publish_directory, remove_tree, work_directory

_logger = logging.getLogger(__name__)

_HOLDER = module_command("cwl_udss.images.node.mount_holder")


class NodeImages:
    """Root filesystems of images for any number of threads, kept usable until the end of it."""

    def __init__(
        self,
        store: Store,
        runtime: Callable[[], Runtime],
        *,
        scratch: Path | None,
        scratch_bytes: int,
        environment: Mapping[str, str],
    ) -> None:
        """`scratch` is a directory of this node, None looks for one; unpacked images may take
        `scratch_bytes` there."""
        self._store = store
        self._runtime = runtime
        self._scratch = scratch
        self._scratch_bytes = scratch_bytes
        self._environment = environment
        self._held = contextlib.ExitStack()
        self._roots: dict[Path, RootFilesystem] = {}
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)

    def __enter__(self) -> NodeImages:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the images removed, and mounts ended."""
        self._held.close()

    def root(self, image: StoredImage) -> RootFilesystem:
        """Return an image's root filesystem. Raises StoreError if it cannot be had here."""
        with self._locks[image.path]:
            if image.path not in self._roots:
                self._roots[image.path] = self._root(image)
            return self._roots[image.path]

    def directory(self, image: StoredImage) -> Path:
        """Return an image as a directory that every process sees, unpacked if need be."""
        if image.format is ImageFormat.DIRECTORY:
            return self.root(image).path
        with self._locks[image.path]:
            return self._unpacked(image)

    def store(self) -> Store:
        """Return a store of this node's own, for what a build makes on its way."""
        return Store(self._directory / "store", format=ImageFormat.DIRECTORY)

    @cached_property
    def unpacked_directory(self) -> Path:
        """Where images are unpacked: programs may be executed there. Raises StoreError if there is
        no such place."""
        places = local_directories(self._scratch, self._environment)
        for place in places:
            if not forbids_programs(place):
                return node_directory(place, self._environment)
        if not places:
            return self._directory  # which says what is missing
        raise StoreError(
            f"programs cannot be executed in {' or '.join(map(str, places))} (mounted noexec), "
            "where images are to be unpacked",
            "name another directory of this node with --udss-scratch",
        )

    def describe(self) -> str:
        """Say how SquashFS images are going to be used on this node, for `cwl-udss doctor`. Raises
        StoreError if they cannot."""
        mounter = find_mounter(self._environment)
        if mounter is None:
            return f"unpacked to {self.unpacked_directory} (there is no {MOUNTER} on PATH)"
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return f"unpacked to {self.unpacked_directory} (you may not use /dev/fuse)"
        try:
            runtime = self._runtime()
        except SandboxError:  # another's to tell
            return f"unpacked to {self.unpacked_directory} (there is no runtime to mount them for)"
        if not can_enter_mounts(runtime):
            words = f"{runtime.description} makes no sandboxes of what is mounted"
            return f"unpacked to {self.unpacked_directory} ({words})"
        return f"mounted by {mounter}"

    def _root(self, image: StoredImage) -> RootFilesystem:
        if image.is_stored:
            self._held.enter_context(self._store.use(image))
        _check_there(image)
        if image.format is ImageFormat.SQUASHFS:
            return self._mounted(image) or RootFilesystem(path=self._unpacked(image))
        if not forbids_programs(image.path):
            return RootFilesystem(path=image.path)
        if not image.is_stored:
            raise StoreError(
                f"programs in {image.path} cannot be executed: its filesystem is mounted noexec",
                "copy it to another one, or make a tar of it and name that",
            )
        return RootFilesystem(path=self._unpacked(image))

    @cached_property
    def _directory(self) -> Path:
        return node_directory(self._scratch, self._environment)

    def _mounted(self, image: StoredImage) -> RootFilesystem | None:
        """The image mounted by a holder that other runs may have started; None if that fails."""
        mounter = find_mounter(self._environment)
        if mounter is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return None
        runtime = self._runtime()
        if not can_enter_mounts(runtime):
            return None
        # A batch system ends all processes of a job with it, and so the mount for the others.
        own = batch_job(self._environment) or "node"
        place = self._directory / "mounts" / own / image.name
        if not place.exists():
            self._remove_old_mounts()
        (place / "root").mkdir(parents=True, exist_ok=True)
        with _alone(place / "start"), told(f"for the mount of {image.path}"):
            held = connect(place / "socket")
            if held is None:
                request = {
                    "command": mount_command(runtime, mounter, image, place),
                    "mount": str(place / "root"),
                    "socket": str(place / "socket"),
                }
                subprocess.run(
                    [*_HOLDER, json.dumps(request)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                )
                held = connect(place / "socket")
        if held is None:
            _logger.warning("%s has not mounted %s in time", mounter, image.path)
            return None
        connection, answer = held
        if "error" in answer:
            connection.close()
            _logger.warning("%s cannot mount images here: %s", mounter, answer["error"])
            return None
        self._held.enter_context(connection)
        return RootFilesystem(path=place / "root", mounted_by=answer["process"])

    def _remove_old_mounts(self) -> None:
        """Remove the places of mounts that have ended with their jobs."""
        for place in (self._directory / "mounts").glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # another step was first
                is_new = time.time() - place.stat().st_mtime < 2 * MOUNT_SECONDS
                held = None if is_new else connect(place / "socket")
                if held is not None:
                    held[0].close()
                elif not is_new:
                    remove_tree(place)
                    with contextlib.suppress(OSError):  # there are other mounts of that job
                        place.parent.rmdir()

    def _unpacked(self, image: StoredImage) -> Path:
        """The image unpacked on this node, by whoever needs it first."""
        from cwl_udss.images.node.unpacking import unpack  # most runs unpack nothing

        directory = self.unpacked_directory
        place = directory / "unpacked" / image.name
        place.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(presence(place / presence_name()))
        with _alone(place / "start"):
            if not (place / "root").exists():
                self._make_room(directory, image)
                if image.format is ImageFormat.DIRECTORY:
                    reason = ": programs cannot be executed in the store (mounted noexec)"
                    _logger.info("copying %s to %s%s", image.path, place, reason)
                else:
                    _logger.info("unpacking %s to %s", image.path, place)
                with (
                    work_directory(directory / "work") as work,
                    told(f"until {image.path} is unpacked"),
                ):
                    unpack(image, work, self._environment)
                    publish_directory(work / "root", place / "root")
        os.utime(place)
        return place / "root"

    def _make_room(self, directory: Path, image: StoredImage) -> None:
        """Remove unpacked images that nobody uses, the least recently used first."""
        places = sorted((directory / "unpacked").iterdir(), key=lambda place: place.stat().st_mtime)
        sizes = {place: _size(place / "root") for place in places}
        for place in places:
            if sum(sizes.values()) + image.size <= self._scratch_bytes:
                return
            users = {path for path in place.iterdir() if path.name not in ("root", "start")}
            if not living(users, patience=0) and (place / "root").exists():
                with work_directory(directory / "work") as work:
                    (place / "root").rename(work / "removed")
                sizes[place] = 0


def _check_there(image: StoredImage) -> None:
    """Raise StoreError if an image is gone, or is not what was found."""
    try:
        stamp = file_stamp(image.path) if image.stamp else image.stamp
    except FileNotFoundError as error:
        raise StoreError(f"{image.path} has been removed just now", "try again") from error
    except OSError as error:
        raise StoreError(f"{image.path} cannot be read: {system_words(error)}") from error
    if stamp != image.stamp:
        raise StoreError(f"{image.path} has changed since the run began with it", "try again")
    if not image.path.exists():
        raise StoreError(f"{image.path} has been removed just now", "try again")


def forbids_programs(path: Path) -> bool:
    """Say whether nothing at a path can be executed, whatever its mode (mount(8), "noexec"). Asked
    anew each time: it may be mounted otherwise on each machine."""
    return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let nobody else of this node do the same now: saves work, and nothing depends on it."""
    with open(path, "ab") as stream:
        what = f"for another process of this node, which makes {path.parent}"
        with contextlib.suppress(OSError), told(what):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _size(directory: Path) -> int:
    total = 0
    for path, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total
