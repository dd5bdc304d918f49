# SPDX-License-Identifier: Apache-2.0
"""Which runtime makes the sandboxes on this machine: the first that keeps what is promised of them,
found by trying; another only if a person has accepted by name what it does not keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cwl_udss.errors import SandboxError, StoreError
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.choosing.table import AUTO, BWRAP, PROOT, RUNTIMES, Machine
from cwl_udss.runtimes.process import PipedRuntime
from cwl_udss.sandbox import Limit, Runtime

_AnyRuntime = TypeVar("_AnyRuntime", bound=Runtime)
_EACH = "`cwl-udss doctor` tries each runtime"


@dataclass(frozen=True)
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

    def find(self) -> PipedRuntime:
        """Return the runtime. Raises SandboxError with what there is to do if there is none."""
        if self.wanted != AUTO:
            return self._acceptable(self.wanted)
        if self.bwrap:  # which is not replaced, as somebody has named it
            return self._acceptable(BWRAP)
        found: dict[str, PipedRuntime] = {}
        refusals: dict[str, SandboxError] = {}
        for name in (name for name, kind in RUNTIMES.items() if kind.is_automatic):
            try:
                found[name] = self.try_runtime(name)
            except SandboxError as error:
                refusals[name] = error
                continue
            if not found[name].limits:
                return found[name]
        usable = [runtime for runtime in found.values() if not self._open_limits(runtime)]
        if usable:
            return _strongest(usable)
        raise self._refusal(list(found.values()), refusals) from refusals.get(BWRAP)

    def try_runtime(self, name: str) -> PipedRuntime:
        """Return a runtime, if it works here, whatever it does not keep. Raises SandboxError."""
        try:
            return RUNTIMES[name].find(Machine(self.bwrap, self.scratch, self.environment))
        except StoreError as error:  # there is no place for what it needs
            raise SandboxError(error.problem, error.advice) from error

    def _acceptable(self, name: str) -> PipedRuntime:
        runtime = self.try_runtime(name)
        if self._open_limits(runtime):
            raise self._not_accepted(runtime)
        return runtime

    def _refusal(
        self, found: Sequence[Runtime], refusals: Mapping[str, SandboxError]
    ) -> SandboxError:
        """Why none can be used: the first's reason, and what can be had instead of it."""
        first = refusals.get(BWRAP)
        if found:
            instead = self._not_accepted(_strongest(found))
            if first is None:
                return instead
            return SandboxError(
                f"{first.problem}; {instead.problem}", f"{instead.advice}; or {first.advice}"
            )
        told = [refusals[name] for name in (BWRAP, PROOT)]
        advice = " or ".join(filter(None, (error.advice for error in told)))
        return SandboxError(
            f"{told[0].problem}; without user namespaces: {told[1].problem}", f"{advice} ({_EACH})"
        )

    def _not_accepted(self, runtime: Runtime) -> SandboxError:
        limits = self._open_limits(runtime)
        options = " ".join(f"--udss-accept {limit.name}" for limit in limits)
        return SandboxError(
            f"{runtime.description} makes sandboxes in which "
            f"{', and '.join(limit.text for limit in limits)}",
            f"if you accept that, type {options}",
        )

    def _open_limits(self, runtime: Runtime) -> list[Limit]:
        """What nobody has accepted."""
        return [limit for limit in weaknesses(runtime.limits) if limit.name not in self.accepted]


def weaknesses(limits: Sequence[Limit]) -> list[Limit]:
    """Return the limits by which a step can do more than it should."""
    return [limit for limit in limits if limit.is_weakness]


def _strongest(runtimes: Sequence[_AnyRuntime]) -> _AnyRuntime:
    """The first of those with the fewest weaknesses."""
    return min(runtimes, key=lambda runtime: len(weaknesses(runtime.limits)))


def bubblewrap_for(purpose: str, runtime: Runtime) -> Bubblewrap:
    """Return bubblewrap, for what no other runtime does. Raises SandboxError."""
    if isinstance(runtime, Bubblewrap):
        return runtime
    raise SandboxError(
        f"{purpose} needs user namespaces and bubblewrap, and here is {runtime.description}",
        "do it on a machine that has them",
    )


def describe_choice(runtime: Runtime) -> str:
    """Return what the log says of the runtime of a run, with all of its limits."""
    if not runtime.limits:
        return runtime.description
    limits = "; ".join(f"{limit.text} ({limit.name})" for limit in runtime.limits)
    return f"{runtime.description}: {limits}"
