# SPDX-License-Identifier: Apache-2.0
"""Sandboxes that a container engine makes, which mounts and isolates in its own way: what is the
same with all of them."""
