# SPDX-License-Identifier: Apache-2.0
"""Programs that are made for one step: they need no library, and nothing of an image."""
