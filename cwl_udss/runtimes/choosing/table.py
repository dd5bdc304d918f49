# SPDX-License-Identifier: Apache-2.0
"""Every runtime, by name: how it is found on a machine, by making a sandbox with it.

Each is imported when it is looked for: most machines need none but the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cwl_udss.records import record
from cwl_udss.runtimes.limits import (
    APPTAINER_LIMITS,
    LANDLOCK_LIMITS,
    OCI_LIMITS,
    PODMAN_LIMITS,
    PROOT_LIMITS,
)
from cwl_udss.runtimes.probing.attempts import Remember, try_always
from cwl_udss.sandbox import Limit

if TYPE_CHECKING:
    from cwl_udss.runtimes.starting import PipedRuntime


@record(frozen=True)
class Machine:
    """Where runtimes are looked for."""

    bwrap: str | None
    """The `bwrap` to use; None looks for one."""
    scratch: Path | None
    """A directory of this node; None looks for one."""
    environment: Mapping[str, str]
    remember: Remember = try_always

    @property
    def search_path(self) -> str | None:
        """Where programs are looked for."""
        return self.environment.get("PATH")

    def temporary(self) -> AbstractContextManager[Path]:
        """Make an empty directory of this node, in which programs can be executed. Raises
        StoreError."""
        from cwl_udss.files.scratch import program_directory

        return program_directory(self.scratch, self.environment)


AUTO, BWRAP, LANDLOCK, PROOT, UNSHARE = "auto", "bwrap", "landlock", "proot", "unshare"
CH_RUN, CRUN, RUNC = "ch-run", "crun", "runc"
PODMAN, APPTAINER, SINGULARITY = "podman", "apptainer", "singularity"

Find: TypeAlias = "Callable[[Machine], PipedRuntime]"
"""Returns a runtime that has made a sandbox here, or raises SandboxError: why it cannot, and what
to do."""


def _bwrap(machine: Machine) -> PipedRuntime:
    from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap

    return find_bubblewrap(machine.bwrap, machine.search_path, machine.remember)


def _proot(machine: Machine) -> PipedRuntime:
    from cwl_udss.runtimes.proot.probe import find_proot

    return find_proot(machine.temporary, machine.search_path, machine.remember)


def _landlock(machine: Machine) -> PipedRuntime:
    from cwl_udss.runtimes.landlock.probe import find_landlock

    return find_landlock(machine.temporary)


def _unshare(machine: Machine) -> PipedRuntime:
    from cwl_udss.runtimes.unshare.probe import find_unshare

    return find_unshare(machine.search_path, machine.remember)


def _ch_run(machine: Machine) -> PipedRuntime:
    from cwl_udss.runtimes.ch_run.probe import find_ch_run

    return find_ch_run(machine.search_path, machine.remember)


def _crun(machine: Machine) -> PipedRuntime:
    from cwl_udss.runtimes.oci.probe import find_crun

    return find_crun(machine.search_path, machine.remember)


def _runc(machine: Machine) -> PipedRuntime:
    from cwl_udss.runtimes.oci.probe import find_runc

    return find_runc(machine.search_path, machine.remember)


def _podman(machine: Machine) -> PipedRuntime:
    from cwl_udss.runtimes.podman.probe import find_podman

    return find_podman(machine.temporary, machine.environment, machine.remember)


def _apptainer(machine: Machine, name: str = APPTAINER) -> PipedRuntime:
    from cwl_udss.runtimes.apptainer.probe import find_apptainer

    return find_apptainer(name, machine.temporary, machine.environment, machine.remember)


def _singularity(machine: Machine) -> PipedRuntime:
    return _apptainer(machine, SINGULARITY)


@record(frozen=True)
class Kind:
    """A runtime that there may be on a machine."""

    find: Find
    limits: tuple[Limit, ...] = ()
    """All that it may have, on any machine."""
    is_automatic: bool = True
    """Whether it may be chosen where none is named."""


RUNTIMES: Mapping[str, Kind] = {
    BWRAP: Kind(_bwrap),
    UNSHARE: Kind(_unshare),
    CH_RUN: Kind(_ch_run),
    CRUN: Kind(_crun, OCI_LIMITS),
    RUNC: Kind(_runc, OCI_LIMITS),
    APPTAINER: Kind(_apptainer, APPTAINER_LIMITS),
    SINGULARITY: Kind(_singularity, APPTAINER_LIMITS),
    PODMAN: Kind(_podman, PODMAN_LIMITS),
    PROOT: Kind(_proot, PROOT_LIMITS),
    LANDLOCK: Kind(_landlock, LANDLOCK_LIMITS, is_automatic=False),
}
"""In the order in which they are preferred: of those that keep all that is promised, the one that
starts first; then those that need no user namespaces; then those that are slow. Last what shows no
image, and is for tools of this machine."""
