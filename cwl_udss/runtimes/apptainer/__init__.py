# SPDX-License-Identifier: Apache-2.0
"""Sandboxes by Apptainer, or Singularity, whichever a site has."""
