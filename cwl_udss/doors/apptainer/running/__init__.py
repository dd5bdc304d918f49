# SPDX-License-Identifier: Apache-2.0
"""A command in an image: what it sees, its environment, what starts it."""
