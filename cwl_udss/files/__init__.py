# SPDX-License-Identifier: Apache-2.0
"""Copies, links, and directories of this node."""
