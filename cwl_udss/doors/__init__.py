# SPDX-License-Identifier: Apache-2.0
"""Commands with other programs' names, by which those who call these get sandboxes of ours."""
