# SPDX-License-Identifier: Apache-2.0
"""Layers: tar headers and contents as they stream by, merged to one tree."""
