# SPDX-License-Identifier: Apache-2.0
"""The commands `apptainer` and `singularity`, as those of Apptainer 1.4 are called."""
