# SPDX-License-Identifier: Apache-2.0
"""What is around a step: who it is, what it may execute, what it leaves, its JavaScript."""
