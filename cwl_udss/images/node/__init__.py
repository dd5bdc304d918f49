# SPDX-License-Identifier: Apache-2.0
"""Makes images of the store usable on this node."""
