# SPDX-License-Identifier: Apache-2.0
"""A root filesystem as one tree: merged, read, listed, and given to what writes it."""
