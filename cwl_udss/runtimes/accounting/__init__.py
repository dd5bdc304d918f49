# SPDX-License-Identifier: Apache-2.0
"""What the processes of a sandbox use."""
