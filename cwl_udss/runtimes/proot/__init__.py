# SPDX-License-Identifier: Apache-2.0
"""Sandboxes without namespaces: PRoot shows the image, Landlock and seccomp see to the rest."""
