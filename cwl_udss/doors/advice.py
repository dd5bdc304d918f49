# SPDX-License-Identifier: Apache-2.0
"""What errors advise, as those can do it who call a door: it has none of our options, but all of
our variables.
"""

from __future__ import annotations

import re

_LIMIT = r"--udss-accept ([a-z-]+)"
_ACCEPTED = re.compile(rf"type {_LIMIT}(?: {_LIMIT})*")
_OPTION = re.compile(r"--udss-([a-z]+(?:-[a-z]+)*)")


def as_variables(text: str) -> str:
    """Return a text with the variables in the place of options of cwltool's."""
    text = _ACCEPTED.sub(_accept, text)
    return _OPTION.sub(lambda found: _variable(found[1]), text)


def _accept(found: re.Match[str]) -> str:
    return f"set {_variable('accept')}={','.join(re.findall(_LIMIT, found[0]))}"


def _variable(name: str) -> str:
    return f"CWL_UDSS_{name.upper().replace('-', '_')}"
