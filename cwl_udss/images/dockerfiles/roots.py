# SPDX-License-Identifier: Apache-2.0
"""The root filesystem during a build: layers, each what one instruction has changed.

With overlayfs where that works in a user namespace (Linux 5.11 and a local filesystem), otherwise a
copy of everything for each instruction: the same results, slower.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwl_udss.errors import ImageError, SandboxError
from cwl_udss.images.store.store import Store
from cwl_udss.machine.deferral import deferred
from cwl_udss.machine.own_modules import module_command
from cwl_udss.runtimes.bubblewrap.bwrap import Argument, Bubblewrap, proc_arguments
from cwl_udss.runtimes.bubblewrap.probe import bundled_bubblewrap
from cwl_udss.runtimes.seccomp import seccomp_program
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.sandbox import HOST_NAME, Ending

_logger = logging.getLogger(__name__)

_HELPER = module_command("cwl_udss.images.dockerfiles.changes")
_LINES_OF_AN_ERROR = 3
# The options of mount(2) fit into a page, and a store's paths are long.
_MOST_LAYERS = 16
# apt makes sure by getresuid(2) that it has become another user, which the filter only pretends.
_APT_CONFIGURATION = b'APT::Sandbox::User "root";\n'
_APT_CONFIGURATION_PATH = "/dev/apt.conf"
_SCRIPT_PATH = "/dev/run"
# In a namespace of one user: to write where modes forbid it, as root may, and chroot(2), with which
# apk runs scripts.
_CAPABILITIES = ("CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_CHROOT")
_CAPABILITY_OPTIONS = tuple(word for name in _CAPABILITIES for word in ("--cap-add", name))
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts")


@dataclass(frozen=True, kw_only=True)
class Root:
    """A root filesystem: directories, each over those before it."""

    layers: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a RUN runs."""

    command: tuple[str, ...]
    script: str
    """A script that names its interpreter, instead of a command."""
    directory: str
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class _Change:
    """Directories for a change of a root filesystem."""

    upper: Path
    """Where what is changed goes."""
    overlay_work: Path
    mount: Path
    """An empty directory to mount the root filesystem on."""
    origin: Path
    """Another."""


class BuildRoots:
    """Makes root filesystems by changing others."""

    def __init__(self, store: Store, runtime: Bubblewrap) -> None:
        self._store = store
        self._runtime = runtime
        if "--overlay" not in runtime.options:
            with contextlib.suppress(SandboxError):  # then without overlays
                self._runtime = bundled_bubblewrap()
        self._has_overlay = "--overlay" in self._runtime.options and self._try_overlay()
        if not self._has_overlay:
            _logger.info("overlayfs does not work in %s: builds copy images", store.path)

    def existing(self, key: str, parent: Root) -> Root | None:
        """Return the root filesystem that a change of this key has made, if it is here."""
        path = self._store.build_layer(self._name(key))
        return None if path is None else self._over(parent, path)

    def run(self, key: str, parent: Root, command: Command) -> Root:
        """Run a command as root of the image. Raises ImageError with its last lines if it fails."""
        parent = self._flattened(parent)
        with self._changing(parent) as change:
            self._help(parent, change, {"do": "prepare"})
            # The root first: what is mounted on it comes after.
            arguments = [*_namespaces(), *self._writable(parent, change, "/"), *_mounts(command)]
            self._execute(arguments, command.command or (_SCRIPT_PATH,))
            return self._over(
                parent, self._store.publish_build_layer(change.upper, self._name(key))
            )

    def change(
        self, key: str, parent: Root, request: Mapping[str, Any], origin: Root | None = None
    ) -> Root:
        """Change files by changes.py; `origin` is another root filesystem that is read. Raises
        ImageError if that cannot be done."""
        parent = self._flattened(parent)
        with self._changing(parent) as change:
            self._help(parent, change, request, origin)
            return self._over(
                parent, self._store.publish_build_layer(change.upper, self._name(key))
            )

    def export(self, root: Root, destination: Path) -> tuple[int, int]:
        """Copy a root filesystem to a new directory. Returns its numbers of entries and bytes."""
        with self._store.work() as work:
            mount = work / "mount"
            mount.mkdir()
            request = {"do": "export", "root": str(mount), "destination": str(destination)}
            counts = json.loads(self._call(self._read_only(root, str(mount)), request))
            return counts["entries"], counts["size"]

    def _name(self, key: str) -> str:
        """Both kinds of layers may be in one store, made by different machines."""
        return key if self._has_overlay else f"{key}-whole"

    def _over(self, parent: Root, layer: Path) -> Root:
        return Root(layers=(*parent.layers, layer) if self._has_overlay else (layer,))

    def _flattened(self, root: Root) -> Root:
        if len(root.layers) < _MOST_LAYERS:
            return root
        key = f"{root.layers[-1].name}-flat"
        layer = self._store.build_layer(key)
        if layer is None:
            with self._store.work() as work:
                self.export(root, work / "flat")
                layer = self._store.publish_build_layer(work / "flat", key)
        return Root(layers=(layer,))

    @contextlib.contextmanager
    def _changing(self, parent: Root) -> Iterator[_Change]:
        with self._store.work() as work:
            change = _Change(
                upper=work / "upper",
                overlay_work=work / "overlay",
                mount=work / "mount",
                origin=work / "origin",
            )
            for path in (change.overlay_work, change.mount, change.origin):
                path.mkdir()
            if self._has_overlay:
                change.upper.mkdir()
            else:
                self.export(parent, change.upper)
            yield change

    def _help(
        self,
        root: Root,
        change: _Change,
        request: Mapping[str, Any],
        origin: Root | None = None,
    ) -> None:
        mounts = self._writable(root, change, str(change.mount))
        request = {**request, "root": str(change.mount)}
        if origin is not None:
            mounts += self._read_only(origin, str(change.origin))
            request["origin"] = str(change.origin)
        self._call(mounts, request)

    def _call(self, mounts: list[str], request: Mapping[str, Any]) -> str:
        """Run changes.py where the root filesystems are mounted, beside all of the host."""
        arguments: list[Argument] = [
            *("--dev-bind", "/", "/", *mounts, "--die-with-parent", "--unshare-pid"),
            # As a builder may, the files of which RUN has set modes that forbid it.
            *("--unshare-user", "--cap-drop", "ALL", *_CAPABILITY_OPTIONS),
        ]
        for name, value in os.environ.items():
            arguments += ["--setenv", name, value]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as messages:
            result = self._runtime.launch(
                arguments,
                (*_HELPER, json.dumps(request)),
                Pipes(stdin=subprocess.DEVNULL, stdout=output.fileno(), stderr=messages.fileno()),
            ).wait()
            output.seek(0)
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip()
            if result.exit_code:
                raise ImageError(said.rpartition("\n")[2] or "no result")
            return output.read().decode()

    def _writable(self, root: Root, change: _Change, path: str) -> list[str]:
        if not self._has_overlay:
            return ["--bind", str(change.upper), path]
        lower = [word for layer in root.layers for word in ("--overlay-src", str(layer))]
        return [*lower, "--overlay", str(change.upper), str(change.overlay_work), path]

    def _read_only(self, root: Root, path: str) -> list[str]:
        if len(root.layers) == 1:
            return ["--ro-bind", str(root.layers[0]), path]
        lower = [word for layer in root.layers for word in ("--overlay-src", str(layer))]
        return [*lower, "--ro-overlay", path]

    def _execute(self, arguments: list[Argument], command: tuple[str, ...]) -> None:
        process = self._runtime.launch(
            arguments,
            command,
            Pipes(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT),
        )
        last: deque[str] = deque(maxlen=_LINES_OF_AN_ERROR)
        assert isinstance(process.process, subprocess.Popen)
        nothing, output = process.process.stdin, process.process.stdout
        assert nothing is not None
        assert output is not None
        nothing.close()
        try:
            process.heed_signals()
            for line in output:
                text = line.decode(errors="replace").rstrip()
                last.append(text)
                _logger.info("  %s", text)
        except BaseException:  # a signal's handler raised, maybe between two lines
            process.kill()
            raise
        finally:
            output.close()
            result = process.wait()
        said = " / ".join(line for line in last if line)
        if result.ending is Ending.NOT_STARTED:
            raise ImageError(f"{command[0]!r} cannot be executed in the image ({said})")
        if result.exit_code:
            raise ImageError(f"exit code {result.exit_code}{f': {said}' if said else ''}")

    def _try_overlay(self) -> bool:
        """Only trying tells whether the kernel and the store's filesystem can do it."""
        with self._store.work() as work:
            for name in ("lower", "upper", "overlay", "mount"):
                (work / name).mkdir()
            (work / "lower/file").touch()
            with deferred():
                done = subprocess.run(
                    [
                        *(self._runtime.path, "--dev-bind", "/", "/"),
                        *("--overlay-src", work / "lower"),
                        *("--overlay", work / "upper", work / "overlay", work / "mount", "--"),
                        *("rm", work / "mount/file"),  # which makes a whiteout
                    ],
                    capture_output=True,
                    check=False,
                )
            return done.returncode == 0


def _namespaces() -> list[Argument]:
    return [
        *("--unshare-user", "--uid", "0", "--gid", "0"),
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", HOST_NAME),
        *("--die-with-parent", "--cap-drop", "ALL"),
        *_CAPABILITY_OPTIONS,
        *("--seccomp", seccomp_program(pretend=True)),
    ]


def _mounts(command: Command) -> list[Argument]:
    """What stands in every build's sandbox, at names that changes.prepare() has seen to."""
    arguments = [*proc_arguments(), "--ro-bind", "/sys", "/sys", "--dev", "/dev"]
    arguments += ["--ro-bind-data", _APT_CONFIGURATION, _APT_CONFIGURATION_PATH]
    if command.script:
        arguments += ["--perms", "0755", "--ro-bind-data", command.script.encode(), _SCRIPT_PATH]
    for path in _NETWORK_FILES:
        with contextlib.suppress(FileNotFoundError):
            # A copy, which a package's script may change without effect, as in docker build.
            arguments += ["--bind-data", Path(path).read_bytes(), path]
    variables = {**_proxies(), "APT_CONFIG": _APT_CONFIGURATION_PATH, **command.environment}
    for name, value in variables.items():
        arguments += ["--setenv", name, value]
    return [*arguments, "--chdir", command.directory]


def _proxies() -> dict[str, str]:
    """How the network is reached from here; not part of the image."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    wanted = {*names, *(name.upper() for name in names)}
    return {name: value for name, value in os.environ.items() if name in wanted}
