# SPDX-License-Identifier: Apache-2.0
"""Starting modules of this package as programs of their own."""

from __future__ import annotations

import sys


def module_command(name: str) -> tuple[str, ...]:
    """Return the command line of a module of ours. What was started without the site module, as the
    doors are, has found us by paths that others do not know."""
    if not sys.flags.no_site:
        return (sys.executable, "-m", name)
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; import runpy; "
        f"runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
    )
    return (sys.executable, "-IS", "-c", program)
