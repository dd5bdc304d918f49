# SPDX-License-Identifier: Apache-2.0
"""Sandboxes by podman, for sites that allow nothing else: it takes the longest to start."""
