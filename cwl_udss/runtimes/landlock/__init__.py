# SPDX-License-Identifier: Apache-2.0
"""Tools of this machine, without an image, within Landlock and a system call filter."""
