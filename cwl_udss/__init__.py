# SPDX-License-Identifier: Apache-2.0
"""cwl-udss: CWL workflows in rootless containers, without Docker, a daemon or root."""

__version__ = "0.1.0"
