# SPDX-License-Identifier: Apache-2.0
"""A step: as plain data, how it is run wherever it has landed, and results that are kept."""
