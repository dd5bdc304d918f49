# SPDX-License-Identifier: Apache-2.0
"""The larger subcommands of `cwl-udss`, a module for each."""
