# SPDX-License-Identifier: Apache-2.0
"""What an option of Apptainer's commands is, and what becomes of it here."""

from __future__ import annotations

import enum

from cwl_udss.records import record


class Kind(enum.Enum):
    """What an option takes."""

    FLAG = "flag"
    VALUE = "value"
    LIST = "list"
    """May be repeated."""


class Treatment(enum.Enum):
    """What becomes of an option."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    """It asks for what is so anyway, or means nothing here."""
    WARNED = "not kept"
    """Accepted, and the person is told that it is not kept."""
    REFUSED = "refused"


@record(frozen=True, kw_only=True)
class Option:
    """An option of a command."""

    name: str
    short: str = ""
    kind: Kind = Kind.FLAG
    treatment: Treatment = Treatment.HONOURED
    variables: tuple[str, ...] = ()
    """Names of variables that stand for it, after APPTAINER_ or SINGULARITY_."""
    reason: str = ""
    """Why it is ignored, or refused."""

    @property
    def attribute(self) -> str:
        """As argparse has it."""
        return self.name.replace("-", "_")


def flag(name: str, short: str = "", *variables: str) -> Option:
    """Return an honoured option that takes nothing."""
    return Option(name=name, short=short, variables=variables)


def value(name: str, short: str = "", *variables: str) -> Option:
    """Return an honoured option that takes a value."""
    return Option(name=name, short=short, kind=Kind.VALUE, variables=variables)


def several(name: str, short: str = "", *variables: str) -> Option:
    """Return an honoured option that may be repeated."""
    return Option(name=name, short=short, kind=Kind.LIST, variables=variables)


def others(
    treatment: Treatment, kind: Kind, reason: str, *names: tuple[str, ...] | str
) -> tuple[Option, ...]:
    """Return options that share a reason: of each the name, which is its variable's, too; or name,
    letter and variables ("" for none)."""
    options = []
    for given in names:
        name, short, *variables = (given, "") if isinstance(given, str) else given
        options.append(
            Option(
                name=name,
                short=short,
                kind=kind,
                treatment=treatment,
                variables=tuple(filter(None, variables or [name.upper().replace("-", "_")])),
                reason=reason,
            )
        )
    return tuple(options)
