# SPDX-License-Identifier: Apache-2.0
"""Where a step's inputs are put, from wherever they are; those that no step can use."""
