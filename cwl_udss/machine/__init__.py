# SPDX-License-Identifier: Apache-2.0
"""This machine: what of it may be used, whose it is, and waiting on it."""
