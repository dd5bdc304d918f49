# SPDX-License-Identifier: Apache-2.0
"""What runs, by name and version."""

from __future__ import annotations

from importlib.metadata import version

import cwl_udss


def version_text() -> str:
    """Return the versions of cwl-udss and of the cwltool that it extends."""
    return f"cwl-udss {cwl_udss.__version__} with cwltool {version('cwltool')}"
