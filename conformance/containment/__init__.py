# SPDX-License-Identifier: Apache-2.0
"""The containment suite as a package, for `cwl-udss doctor --containment`; see README.md."""
