# SPDX-License-Identifier: Apache-2.0
"""Trying programs on this node, and remembering what came of it."""
