# SPDX-License-Identifier: Apache-2.0
"""Builds an image from a Dockerfile."""
