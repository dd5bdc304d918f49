# SPDX-License-Identifier: Apache-2.0
"""Sandboxes by crun and runc, which make what the OCI runtime specification describes."""
