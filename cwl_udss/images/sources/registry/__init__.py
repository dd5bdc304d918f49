# SPDX-License-Identifier: Apache-2.0
"""Registries: which one, how to log in, and its language."""
