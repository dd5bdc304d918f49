# SPDX-License-Identifier: Apache-2.0
"""How a root filesystem is kept: writers, and readers."""
