# SPDX-License-Identifier: Apache-2.0
"""Which runtime makes the sandboxes on this machine: the first that keeps what is promised of them,
found by trying; another only if a person has accepted by name what it does not keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cwl_udss.errors import SandboxError, StoreError
from cwl_udss.records import record
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.runtimes.choosing.table import AUTO, BWRAP, PROOT, RUNTIMES, Machine
from cwl_udss.runtimes.probing.attempts import Remember, try_always
from cwl_udss.runtimes.probing.memory import Memory
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.sandbox import Limit, Runtime

_AnyRuntime = TypeVar("_AnyRuntime", bound=Runtime)
_Result = TypeVar("_Result")
_EACH = "`cwl-udss doctor` tries each runtime"


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
    required: Mapping[str, str] = field(default_factory=dict)
    """Names of limits that it must not have, whoever accepts them, and who says so."""

    def find(self) -> PipedRuntime:
        """Return the runtime; what was tried on this node before is not tried again. Raises
        SandboxError with what there is to do if there is none."""
        try:
            return self._find(self.memory.recall)
        except SandboxError:
            if not self.forget():
                raise
            return self._find(self.memory.recall)

    def use(self, work: Callable[[PipedRuntime], _Result]) -> _Result:
        """Have the runtime do something; again, if it fails and was not tried by this process.
        Raises SandboxError."""
        try:
            return work(self.find())
        except SandboxError:
            if not self.forget():
                raise
        return work(self.find())

    def forget(self) -> bool:
        """Have all tried again. Returns whether something had not been tried by this process."""
        return self.memory.forget()

    @cached_property
    def memory(self) -> Memory:
        """What is remembered of this node."""
        return Memory(self.scratch, self.environment)

    def _find(self, remember: Remember) -> PipedRuntime:
        if self.wanted != AUTO:
            return self._acceptable(self.wanted, remember)
        if self.bwrap:  # which is not replaced, as somebody has named it
            return self._acceptable(BWRAP, remember)
        found: dict[str, PipedRuntime] = {}
        refusals: dict[str, SandboxError] = {}
        for name in (name for name, kind in RUNTIMES.items() if kind.is_automatic):
            try:
                found[name] = self.try_runtime(name, remember)
            except SandboxError as error:
                refusals[name] = error
                continue
            if not found[name].limits:
                return found[name]
        usable = [runtime for runtime in found.values() if not self._open_limits(runtime)]
        if usable:
            return _strongest(usable)
        raise self._refusal(list(found.values()), refusals) from refusals.get(BWRAP)

    def try_runtime(self, name: str, remember: Remember = try_always) -> PipedRuntime:
        """Return a runtime, if it works here, whatever it does not keep. Raises SandboxError."""
        machine = Machine(self.bwrap, self.scratch, self.environment, remember)
        try:
            return RUNTIMES[name].find(machine)
        except StoreError as error:  # there is no place for what it needs
            raise SandboxError(error.problem, error.advice) from error

    def _acceptable(self, name: str, remember: Remember) -> PipedRuntime:
        runtime = self.try_runtime(name, remember)
        if self._open_limits(runtime):
            raise self._not_accepted(runtime)
        return runtime

    def _refusal(
        self, found: Sequence[Runtime], refusals: Mapping[str, SandboxError]
    ) -> SandboxError:
        """Why none can be used: the first's reason, and what can be had instead of it."""
        first = refusals.get(BWRAP)
        if found:
            allowed = [runtime for runtime in found if not self._forbidden(runtime)]
            instead = self._not_accepted(_strongest(allowed or found))
            if first is None:
                return instead
            return SandboxError(
                f"{first.problem}; {instead.problem}",
                "; or ".join(filter(None, (instead.advice, first.advice))),
            )
        told = [refusals[name] for name in (BWRAP, PROOT)]
        advice = " or ".join(filter(None, (error.advice for error in told)))
        return SandboxError(
            f"{told[0].problem}; without user namespaces: {told[1].problem}", f"{advice} ({_EACH})"
        )

    def _not_accepted(self, runtime: Runtime) -> SandboxError:
        limits = self._forbidden(runtime) or self._open_limits(runtime)
        options = " ".join(f"--udss-accept {limit.name}" for limit in limits)
        problem = (
            f"in sandboxes by {runtime.description}, "
            f"{', and '.join(limit.text for limit in limits)}"
        )
        if not self._forbidden(runtime):
            return SandboxError(problem, f"if you accept that, type {options}")
        rules = (f"{limit.name} by {self.required[limit.name]}" for limit in limits)
        return SandboxError(f"{problem}; which is forbidden here ({', '.join(rules)})")

    def _open_limits(self, runtime: Runtime) -> list[Limit]:
        """What is forbidden, or nobody has accepted."""
        open_ones = [
            limit for limit in weaknesses(runtime.limits) if limit.name not in self.accepted
        ]
        return self._forbidden(runtime) + open_ones

    def _forbidden(self, runtime: Runtime) -> list[Limit]:
        """What nobody can accept."""
        return [limit for limit in runtime.limits if limit.name in self.required]


def weaknesses(limits: Sequence[Limit]) -> list[Limit]:
    """Return the limits by which a step can do more than it should."""
    return [limit for limit in limits if limit.is_weakness]


def _strongest(runtimes: Sequence[_AnyRuntime]) -> _AnyRuntime:
    """The first of those with the fewest weaknesses."""
    return min(runtimes, key=lambda runtime: len(weaknesses(runtime.limits)))


def bubblewrap_for(purpose: str, runtime: Runtime) -> Bubblewrap:
    """Return bubblewrap, for what no other runtime does, also where another makes the sandboxes of
    steps. Raises SandboxError."""
    if isinstance(runtime, Bubblewrap):
        return runtime
    try:
        return find_bubblewrap(None)
    except SandboxError as error:
        raise SandboxError(
            f"{purpose} needs user namespaces and bubblewrap, and here is {runtime.description}",
            "do it on a machine that has them",
        ) from error


def describe_choice(runtime: Runtime) -> str:
    """Return what the log says of the runtime of a run, with all of its limits."""
    if not runtime.limits:
        return runtime.description
    limits = "; ".join(f"{limit.text} ({limit.name})" for limit in runtime.limits)
    return f"{runtime.description}: {limits}"
