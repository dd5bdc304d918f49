# SPDX-License-Identifier: Apache-2.0
"""Steps inside allocations that stay, by Parsl; pilot.py is what the rest knows of it."""
