# SPDX-License-Identifier: Apache-2.0
"""Images that other programs have at this site, found by the names that those give them."""
