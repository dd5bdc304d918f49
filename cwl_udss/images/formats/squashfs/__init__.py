# SPDX-License-Identifier: Apache-2.0
"""SquashFS files, written and read."""
