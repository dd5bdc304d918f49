# SPDX-License-Identifier: Apache-2.0
"""What a filesystem is and can do, who is at work on it, and what its errors mean."""
