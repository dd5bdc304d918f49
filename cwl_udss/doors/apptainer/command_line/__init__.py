# SPDX-License-Identifier: Apache-2.0
"""What may be typed: every option, what becomes of it, and the mounts that options write."""
