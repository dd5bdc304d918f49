# SPDX-License-Identifier: Apache-2.0
"""What comes of trying a program, and who may know it without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Facts: TypeAlias = "dict[str, Any]"
"""As JSON has them."""


class Remember(Protocol):
    """What may know what came of trying."""

    def __call__(self, program: str, attempt: Callable[[], Facts], what: str = "") -> Facts:
        """Return what trying a program (by path) gives, or raise the SandboxError that it raised;
        it may have been tried by an earlier command. `what` is what is tried, if that is not the
        usual."""


def try_always(program: str, attempt: Callable[[], Facts], what: str = "") -> Facts:
    """Remember nothing."""
    return attempt()
