# SPDX-License-Identifier: Apache-2.0
"""Sandboxes by util-linux's unshare: it makes the namespaces, a program of ours the rest."""
