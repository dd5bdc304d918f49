# SPDX-License-Identifier: Apache-2.0
"""Where the outputs of steps and of a run go, and what is said of them."""
