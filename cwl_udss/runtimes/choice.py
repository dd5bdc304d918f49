# SPDX-License-Identifier: Apache-2.0
"""Which runtime makes the sandboxes on this machine: the first that keeps what is promised of them,
found by trying; another only if a person has accepted by name what it does not keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cwl_udss.errors import SandboxError, StoreError
from cwl_udss.files.scratch import program_directory
from cwl_udss.records import record
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.sandbox import Limit

if TYPE_CHECKING:
    from cwl_udss.runtimes.proot.proot import Proot

AnyRuntime: TypeAlias = "Bubblewrap | Proot"
AUTO, BWRAP, PROOT = "auto", "bwrap", "proot"


@record(frozen=True)
class RuntimeFinder:
    """What is wanted of a runtime, and where it is looked for."""

    wanted: str
    """The name of one, or `auto`."""
    accepted: tuple[str, ...]
    """Names of weaknesses (see Limit) that it may have."""
    bwrap: str | None
    """The program to use; None looks for one."""
    scratch: Path | None
    """A directory of this node; None looks for one."""
    environment: Mapping[str, str]

    def find(self) -> AnyRuntime:
        """Return the runtime. Raises SandboxError with what there is to do if there is none."""
        if self.wanted == BWRAP or (self.wanted == AUTO and self.bwrap):
            return self.try_bubblewrap()
        if self.wanted == PROOT:
            return self._acceptable(self.try_proot())
        try:
            return self.try_bubblewrap()
        except SandboxError as error:
            return self._instead_of_bubblewrap(error)

    def try_bubblewrap(self) -> Bubblewrap:
        """Return bubblewrap, if it works here. Raises SandboxError."""
        return find_bubblewrap(self.bwrap, self.environment.get("PATH"))

    def try_proot(self) -> Proot:
        """Return PRoot, if it works here. Raises SandboxError."""
        from cwl_udss.runtimes.proot.probe import find_proot  # most machines need none of it

        temporary = partial(program_directory, self.scratch, self.environment)
        try:
            return find_proot(temporary, self.environment.get("PATH"))
        except StoreError as error:  # there is no place for what it needs
            raise SandboxError(error.problem, error.advice) from error

    def _instead_of_bubblewrap(self, refusal: SandboxError) -> Proot:
        try:
            proot = self.try_proot()
        except SandboxError as error:
            raise SandboxError(
                f"{refusal.problem}; without user namespaces: {error.problem}",
                " or ".join(filter(None, (refusal.advice, error.advice))),
            ) from refusal
        try:
            return self._acceptable(proot)
        except SandboxError as error:
            raise SandboxError(
                f"{refusal.problem}; {error.problem}", f"{error.advice}; or {refusal.advice}"
            ) from refusal

    def _acceptable(self, runtime: Proot) -> Proot:
        open_ones = [limit for limit in weaknesses(runtime.limits) if not self._accepts(limit)]
        if not open_ones:
            return runtime
        options = " ".join(f"--udss-accept {limit.name}" for limit in open_ones)
        raise SandboxError(
            f"{runtime.path} makes sandboxes in which "
            f"{', and '.join(limit.text for limit in open_ones)}",
            f"if you accept that, type {options}",
        )

    def _accepts(self, limit: Limit) -> bool:
        return limit.name in self.accepted


def weaknesses(limits: Sequence[Limit]) -> list[Limit]:
    """Return the limits by which a step can do more than it should."""
    return [limit for limit in limits if limit.is_weakness]


def bubblewrap_for(purpose: str, runtime: AnyRuntime) -> Bubblewrap:
    """Return bubblewrap, for what no other runtime does. Raises SandboxError."""
    if isinstance(runtime, Bubblewrap):
        return runtime
    raise SandboxError(
        f"{purpose} needs user namespaces and bubblewrap, and here is {runtime.description}",
        "do it on a machine that has them",
    )


def describe_choice(runtime: AnyRuntime) -> str:
    """Return what the log says of the runtime of a run, with all of its limits."""
    if not runtime.limits:
        return runtime.description
    limits = "; ".join(f"{limit.text} ({limit.name})" for limit in runtime.limits)
    return f"{runtime.description}: {limits}"
