# SPDX-License-Identifier: Apache-2.0
"""SIF, the Singularity Image Format: files of Apptainer and Singularity."""
