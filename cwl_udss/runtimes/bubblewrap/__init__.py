# SPDX-License-Identifier: Apache-2.0
"""Sandboxes by bubblewrap: in namespaces of their own."""
