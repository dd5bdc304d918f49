# SPDX-License-Identifier: Apache-2.0
"""Sandboxes by Charliecloud's ch-run, in namespaces that keep what it does not."""
