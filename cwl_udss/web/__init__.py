# SPDX-License-Identifier: Apache-2.0
"""Asking web servers, registries too, and downloading."""
