# SPDX-License-Identifier: Apache-2.0
"""What a person can do where namespaces cannot be had, by how the kernel refuses them."""

from __future__ import annotations

import os
from pathlib import Path

_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_OWN_NAME = Path("/proc/self/comm")
_UID_MAP = "uid map", "uid_map"
# By errno(3), and by what was asked for.
_REFUSED = "ermi", "Invalid argument", "namespace", "not implemented"
_LIMITED = "No space left", "max_*_namespaces", "max_user_namespaces"


def advice_on_namespaces(message: str, package: str) -> str:
    """Return it; `package` is the one whose AppArmor profile would allow them."""
    if any(words in message for words in _LIMITED):
        return (
            "user namespaces are limited to none: ask for `sysctl user.max_user_namespaces=15000`"
        )
    # Both have the uid map of a new namespace refused, in the same words.
    if any(words in message for words in _UID_MAP) and is_within_landlock():
        return (
            "what started this has restricted itself by Landlock, so that nothing can be mounted: "
            "run outside of it"
        )
    if any(words in message for words in _UID_MAP) and _restricts_by_apparmor():
        return (
            f"AppArmor forbids user namespaces to this program: ask for the {package} package of "
            "your distribution and its AppArmor profile"
        )
    if "proc" in message:
        return "this looks like the inside of a container that hides parts of /proc: run outside"
    if not any(words in message for words in _REFUSED):
        return f"see whether it is {package}'s, or put another one first on PATH"
    return (
        "the kernel does not allow user namespaces here: on Debian ask for "
        "`sysctl kernel.unprivileged_userns_clone=1`; in a container allow unshare(2)"
    )


def is_within_landlock() -> bool:
    """Say whether this process is restricted by Landlock, as far as that can be seen: nothing tells
    of it, but whoever may write to few places may mostly not even write the own name."""
    try:
        os.close(os.open(_OWN_NAME, os.O_WRONLY | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _restricts_by_apparmor() -> bool:
    try:
        return _APPARMOR.read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False
