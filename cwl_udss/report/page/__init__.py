# SPDX-License-Identifier: Apache-2.0
"""The page that tells of a run."""
