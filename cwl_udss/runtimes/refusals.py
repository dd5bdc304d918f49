# SPDX-License-Identifier: Apache-2.0
"""What a person can do where the kernel refuses namespaces, by how it does."""

from __future__ import annotations

from pathlib import Path

_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


def advice_on_namespaces(message: str, package: str) -> str:
    """Return it; `package` is the one whose AppArmor profile would allow them."""
    if "No space left" in message or "max_*_namespaces" in message:
        return (
            "user namespaces are limited to none: ask for `sysctl user.max_user_namespaces=15000`"
        )
    if _APPARMOR.exists() and ("uid map" in message or "uid_map" in message):
        return (
            f"AppArmor forbids user namespaces to this program: ask for the {package} package of "
            "your distribution and its AppArmor profile"
        )
    if "proc" in message:
        return "this looks like the inside of a container that hides parts of /proc: run outside"
    return (
        "the kernel does not allow user namespaces here: on Debian ask for "
        "`sysctl kernel.unprivileged_userns_clone=1`; in a container allow unshare(2)"
    )
